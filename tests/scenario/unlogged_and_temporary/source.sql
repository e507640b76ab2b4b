create table t (id int primary key);
create unlogged table u (id int primary key);
create temporary table tt (id int primary key);
