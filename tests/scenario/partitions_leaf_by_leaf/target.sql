create table t_1 (id int primary key, v text);
create table t_2 (id int primary key, v text);
