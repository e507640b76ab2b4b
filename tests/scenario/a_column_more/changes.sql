insert into t values (1, 'before');
insert into other values (1);

alter table t add n int;

insert into t values (2, 'after', 7);

update t set n = 5 where id = 1;
