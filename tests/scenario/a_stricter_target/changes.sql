insert into t values (1, 'fine', 1);
insert into other values (1);

insert into t values (2, 'secret', -1);

update t set n = 5 where id = 1;
