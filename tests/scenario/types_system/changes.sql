insert into t (id, a, b, l, m) values (4, 'pg_class', 'int4[]', '7', '8');

update t set b = 'named', c = 'pg_sleep', o = '(1,2)', v = v || '{t}' where id in (1, 2);

delete from t where id = 3;
