insert into public.t select g, 'v', g from generate_series(1, 20) g;

update public.t set v = 'changed', n = n * 2 where id operator(pg_catalog.<) 10;

update public.t set id = 100 where id operator(pg_catalog.>) 19;

delete from public.t where id operator(pg_catalog.<) 3;
