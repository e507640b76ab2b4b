create table t (id int primary key, during int4range, exclude using gist (during with &&) deferrable);
