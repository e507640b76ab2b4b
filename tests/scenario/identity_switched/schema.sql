create table t (id int primary key, u int not null unique, v text);
alter table t alter v set storage external;
