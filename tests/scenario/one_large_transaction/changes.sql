begin;
insert into t select g, 'v' || g, 0 from generate_series(1, 200000) g;
update t set n = n + 1 where id % 2 = 0;
delete from t where id % 3 = 0;
update t set id = -id where id % 10 = 1;
insert into t select g, 'again', 7 from generate_series(3, 200000, 3) g;
commit;
