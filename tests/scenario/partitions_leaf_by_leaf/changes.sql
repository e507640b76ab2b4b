insert into t select g, 'v' from generate_series(1, 199) g;

delete from t where id between 130 and 140;

update t set id = id + 50 where id between 80 and 90;

delete from t where id = 150;
