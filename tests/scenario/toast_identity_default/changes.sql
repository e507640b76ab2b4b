insert into t select g, g, repeat(md5(g::text), 200), repeat('o' || g, 3000) from generate_series(1, 40) g;

-- neither large value is touched
update t set n = n + 1000 where id <= 20;

-- one of them
update t set large = repeat('x', 9000) where id between 11 and 15;

update t set other = null where id between 16 and 18;

-- the key too
update t set id = id + 500 where id in (1, 2, 21);

begin;
insert into t values (900, 900, repeat('a', 7000), repeat('b', 7000));
update t set n = 901 where id = 900;
update t set id = 902 where id = 900;
update t set large = 'short' where id = 902;
commit;

begin;
update t set n = 7777 where id = 30;
delete from t where id = 30;
insert into t values (30, 30, repeat('again', 2000), null);
commit;

delete from t where id between 35 and 38;
