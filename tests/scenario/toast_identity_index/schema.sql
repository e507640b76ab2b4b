create table t (id int primary key, n int not null unique, large text, other text);
alter table t alter large set storage external;
alter table t alter other set storage external;
