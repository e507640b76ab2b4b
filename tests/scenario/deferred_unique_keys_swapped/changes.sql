update t set u = 101 - u;

begin; update t set u = 1000 where id = 1; update t set u = 100 where id = 2; update t set u = 99 where id = 1; commit;

begin; delete from t where id = 5; insert into t values (500, 96, 'taken over'); update t set u = u + 1; commit;
