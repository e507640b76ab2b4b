create table t (id int primary key, u int unique, e text);
create table d (id int primary key, u int unique deferrable initially deferred);
create extension btree_gist;
create table x (id int primary key, room int, during int4range, exclude using gist (room with =, during with &&));
