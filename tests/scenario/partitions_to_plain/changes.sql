insert into t select g, 'v' from generate_series(1, 199) g;

delete from t where id between 150 and 170;

update t set id = id + 100 where id between 50 and 60;

truncate t;

insert into t values (60, 'after'), (160, 'after');
