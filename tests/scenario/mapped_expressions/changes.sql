insert into orders select g, 'F' || g, case when g % 4 > 0 then 'L' || g end, g * 12345, (array['n', 'p', 'x'])[g % 3 + 1], jsonb_build_object('g', g), timestamptz '2020-01-01 23:30:00+00' + g * interval '1 hour', decode(repeat('ab', g), 'hex'), (array['de', 'it', null])[g % 3 + 1] from generate_series(1, 50) g;

update orders set cents = cents + 1, state = 'p' where id % 2 = 0;

update orders set id = id + 1000 where id > 45;

delete from orders where id = 7;
