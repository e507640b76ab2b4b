update made set a = a + 100 where id > 10;

update made set id = id + 50, c = null where id < 4;

delete from made where id = 7;

insert into made (id, a, c) values (100, null, null), (101, 5, repeat('large', 20000));

update made set a = 6 where id = 101;

update full_identity set a = a + 100 where a > 10;

delete from full_identity where a = 5;

update between set a = a + 100 where id > 10;

delete from between where id = 3;

insert into between (id, a) values (100, null);
