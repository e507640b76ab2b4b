create table t (id int primary key, v varchar(5));
