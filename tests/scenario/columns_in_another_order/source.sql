create table t (id int primary key, a text, gone int, b varchar(5), c int, d json);
alter table t drop column gone;
insert into t values (1, 'a', 'b', 3, '{}');
