begin;
insert into t values (1, 'a');
update t set v = 'b' where id = 1;
delete from t where id = 1;
insert into t values (1, 'c');
commit;

begin;
insert into t values (2, 'a');
delete from t where id = 2;
commit;

delete from t where id = 1;

insert into t values (1, 'd');

begin;
delete from t;
insert into t select g, 'e' || g from generate_series(1, 200) g;
update t set n = n + 1;
update t set n = n + 1 where id % 2 = 0;
delete from t where id % 5 = 0;
insert into t select g, 'f' || g from generate_series(5, 200, 5) g;
commit;
