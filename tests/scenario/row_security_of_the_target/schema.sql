create table t (id int primary key, tenant int, v text);
