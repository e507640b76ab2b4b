insert into t select g, '2024-01-01'::date + g, 'before', repeat(md5(g::text), 200) from generate_series(1, 1000) g;
