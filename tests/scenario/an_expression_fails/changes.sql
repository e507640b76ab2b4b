insert into t values (2, 8, 2);

insert into t values (3, 8, 0);
insert into other values (1);

update t set a = 1 where id = 1;
