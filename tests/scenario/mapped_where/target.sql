create table t (id int primary key, region text, v text);
