insert into t default values;

insert into t select from generate_series(1, 50);

update t set at = clock_timestamp(), r = random() where id % 2 = 0;
