insert into t select g, g, repeat(md5(g::text), 300) from generate_series(1, 30) g;

-- the large value does not travel, and is needed
update t set n = n + 1 where id < 10;

update t set id = id + 100 where id > 25;

update t set large = repeat('y', 8000) where id = 12;
