create table t (id int primary key, u text unique, n int default 0);
