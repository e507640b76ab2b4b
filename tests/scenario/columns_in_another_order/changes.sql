insert into t select g, 'a' || g, 'b', g, '[1]' from generate_series(2, 20) g;

update t set a = null, c = -1 where id = 3;

update t set id = 33 where id = 4;
