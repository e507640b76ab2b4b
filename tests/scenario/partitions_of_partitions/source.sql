insert into t select g, (array['eu', 'us', 'xx'])[g % 3 + 1], 'before' from generate_series(1, 600) g;
