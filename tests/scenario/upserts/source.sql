insert into t select g, 'u' || g, g from generate_series(1, 100) g;
