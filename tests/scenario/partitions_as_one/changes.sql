insert into t select g, (array['eu', 'us', 'xx'])[g % 3 + 1], 'v' || g from generate_series(61, 120) g;

-- rows move between partitions
update t set region = 'us' where region = 'eu' and id % 2 = 0;

update t set id = id + 300 where region = 'us' and id < 20;

update t set region = 'new' where id between 30 and 40;

delete from t where region = 'xx' and id % 2 = 0;

update t_eu set v = 'by its leaf';
