insert into t values (1, 'before');

alter table t add n int;

insert into t values (2, 'after', 7);

update t set n = 5, v = 'x' where id = 1;
