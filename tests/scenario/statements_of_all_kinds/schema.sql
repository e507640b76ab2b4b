create table t (id int primary key, v text, n int default 1);
create table feed (id int, v text);
alter table feed replica identity full;
