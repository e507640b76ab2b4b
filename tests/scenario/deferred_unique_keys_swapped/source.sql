insert into t select g, g, 'before' from generate_series(1, 100) g;
