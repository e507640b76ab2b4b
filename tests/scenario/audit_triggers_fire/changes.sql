insert into t select g, 'v' from generate_series(1, 30) g;

update t set v = 'w' where id % 2 = 0;
