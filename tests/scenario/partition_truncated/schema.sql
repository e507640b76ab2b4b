create table t (id int primary key, v text) partition by range (id);
create table t_1 partition of t for values from (0) to (1000);
create table t_2 partition of t for values from (1000) to (2000);
