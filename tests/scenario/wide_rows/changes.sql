insert into t select g, repeat('a' || g, 400000), repeat(E'\\"\n', 100000), jsonb_build_object('k', repeat('j', 500000)), decode(repeat('00', 600000), 'hex') from generate_series(1, 4) g;

update t set a = 'short' where id = 1;

update t set id = id + 10 where id in (2, 3);

update t set d = null where id = 4;
