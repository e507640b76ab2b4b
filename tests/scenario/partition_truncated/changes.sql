update t set v = 'changed' where id % 3 = 0;

-- the stream has no trace of it
truncate t_1;

insert into t select g, 'after' from generate_series(1, 9) g;

update t set v = 'last' where id = 1200;
