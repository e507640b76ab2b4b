create table t (id int primary key, ratio int);
