insert into t select g, 'before' from generate_series(500, 1500) g;
