insert into t select g, 'v' || g from generate_series(1, 10) g;
insert into p select g, 'b' || g % 3, g from generate_series(1, 9) g;

-- a swap by way of a third key, in one transaction
begin;
update t set id = -1 where id = 1;
update t set id = 1 where id = 2;
update t set id = 2 where id = -1;
commit;

-- and across transactions
update t set id = -3 where id = 3;

update t set id = 3 where id = 4;

update t set id = 4 where id = -3;

-- a chain: each takes its neighbour's key
update t set id = id + 100;

update t set id = id - 99;

update p set a = a + 10, b = 'c';

begin;
delete from t where id = 5;
insert into t values (5, 'again');
update t set id = 50 where id = 5;
insert into t values (5, 'a third one');
delete from t where id = 50;
commit;

update t set id = 60 where id = 6;
insert into t values (6, 'new'), (61, 'x');
update t set id = 62, v = 'moved' where id = 61;
