insert into t select g, int4range(g * 10, g * 10 + 10) from generate_series(1, 50) g;
