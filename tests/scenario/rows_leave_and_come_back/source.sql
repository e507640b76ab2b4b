insert into t select g, 'b' || g % 3, 0 from generate_series(1, 30) g;
