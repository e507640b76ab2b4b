insert into t select g, g % 3, 'v' from generate_series(1, 30) g;

update t set tenant = tenant + 1, v = 'w' where id > 20;

delete from t where tenant = 0;
