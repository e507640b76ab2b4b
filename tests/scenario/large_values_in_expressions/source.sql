create table t (id int primary key, n int, large text);
alter table t alter large set storage external;
