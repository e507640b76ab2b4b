begin; delete from t where a = 1; insert into t values (1, 'b1', 5); update t set v = 6 where a = 1; delete from t where a = 1; insert into t values (1, 'b1', 7); commit;

begin; insert into t values (100, 'x', 1); delete from t where a = 100; commit;

begin; insert into t values (101, 'x', 1); update t set a = 102 where a = 101; update t set a = 103, b = 'y' where a = 102; commit;

begin; update t set a = 200 where a = 2; insert into t values (2, 'b2', 99); delete from t where a = 200; commit;

begin; update t set a = -a where a between 5 and 15; update t set a = -a where a < 0; commit;

begin; update t set a = a + 1000; update t set a = a - 1000; delete from t where a % 5 = 0; insert into t select g, 'new', g from generate_series(5, 30, 5) g; commit;

begin; savepoint s; delete from t; rollback to s; update t set v = v + 1; savepoint u; insert into t values (5000, 'gone', 0); rollback to u; release s; commit;
