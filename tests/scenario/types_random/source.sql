-- PostgreSQL makes the values. Every function takes the row's number, so that it is called for each row
create function rnd(n int, most int) returns int language sql volatile as 'select floor(random() * most)::int';
create function some_text(n int, most int) returns text language sql volatile as $$
  select coalesce(string_agg(case rnd(i, 8)
    when 0 then chr(1 + rnd(i, 127)) when 1 then (array['\', E'\t', E'\n', E'\r', '''', '"', '{', '}', ',', '\N', '\.', 'NULL', ' '])[1 + rnd(i, 13)]
    when 2 then chr(160 + rnd(i, 40000)) when 3 then chr(65536 + rnd(i, 60000)) else chr(97 + rnd(i, 26)) end, ''), '')
  from generate_series(1, rnd(n, most)) i $$;
create function some_num(n int) returns numeric language sql volatile as $$
  select case rnd(n, 12) when 0 then 'NaN' when 1 then 'Infinity' when 2 then '-Infinity' when 3 then 0 when 4 then 0.000
    else (case rnd(n, 2) when 0 then 1 else -1 end) * (random()::text)::numeric * 10::numeric ^ (rnd(n, 60) - 30) end $$;
create function some_float(n int) returns float8 language sql volatile as $$
  select case rnd(n, 12) when 0 then 'NaN' when 1 then 'Infinity' when 2 then '-0' when 3 then 5e-324 when 4 then 1.7976931348623157e308
    else (random() - 0.5) * 10.0 ^ (rnd(n, 600) - 300) end $$;
create function some_time(n int) returns timestamptz language sql volatile as $$
  select case rnd(n, 12) when 0 then 'infinity' when 1 then '-infinity' when 2 then '4713-01-01 00:00:00+00 BC' when 3 then '294276-12-31 23:59:59.999999+00'
    else to_timestamp((random() - 0.5) * 1e11) end $$;
create function some_span(n int) returns interval language sql volatile as $$
  select make_interval(rnd(n, 4000) - 2000, rnd(n, 30) - 15, 0, rnd(n, 90) - 45, rnd(n, 50) - 25, 0, (random() - 0.5) * 1e5) $$;
create function some_bytes(n int, most int) returns bytea language sql volatile as $$
  select coalesce(string_agg(set_byte('\x00', 0, rnd(i, 256)), ''), '') from generate_series(1, rnd(n, most)) i $$;
create function some_range(n int) returns int4range language sql volatile as $$
  select case rnd(n, 8) when 0 then 'empty' when 1 then '(,)'::int4range when 2 then int4range(rnd(n, 9), null) else int4range(rnd(n, 99), 100 + rnd(n, 99), '[]') end $$;
create function some_mood(n int) returns mood language sql volatile as $$ select (enum_range(null::mood))[1 + rnd(n, 4)] $$;
create function some_pair(n int) returns pair language sql volatile as $$ select row(some_num(n), some_text(n, 9), some_mood(n))::pair $$;
create function maybe(n int, v anyelement) returns anyelement language sql volatile as 'select case when random() > 0.1 then v end';
create function some_rows(first int, last int) returns setof t language sql volatile as $$
  select g, maybe(g, (rnd(g, 65536) - 32768)::int2), maybe(g, (random() * 1.8e19 - 9e18)::numeric::int8), maybe(g, some_num(g)),
    maybe(g, case when abs(n) < 1e22 then n end), maybe(g, case when abs(f) < 3e38 and abs(f) > 1e-37 then f::real else 'NaN' end), maybe(g, some_float(g)),
    ((random() - 0.5) * 1e14)::numeric::money, maybe(g, random() > 0.5), maybe(g, some_text(g, 300)), left(some_text(g, 50), 50), left(some_text(g, 20), 20),
    chr(1 + rnd(g, 127))::"char", left(some_text(g, 12), 12)::name, maybe(g, some_bytes(g, 200)), maybe(g, rnd(g, 1000000)::bit(32)::varbit), rnd(g, 2048)::bit(11),
    (date '2000-01-01' + rnd(g, 3000000) - 800000), maybe(g, some_time(g) at time zone 'UTC'), some_time(g), time '00:00' + rnd(g, 86400) * interval '1 s' + random() * interval '1 s',
    timetz '00:00+03' + random() * interval '1 day', some_span(g), gen_random_uuid(), to_json(some_text(g, 40)),
    jsonb_build_object('a', some_text(g, 20), some_text(g, 5), array[rnd(g, 9), null]), ('10.' || rnd(g, 256) || '.3.' || rnd(g, 256) || '/' || rnd(g, 33))::inet,
    network(('fe80::' || to_hex(rnd(g, 65536)) || '/' || rnd(g, 129))::inet), ('08:00:2b:' || to_char(rnd(g, 100), 'FM00') || ':02:03')::macaddr,
    point(some_float(g), random()), box(point(random(), 1), point(2, random())), circle(point(1, random()), rnd(g, 9)), some_range(g),
    numrange(-1, 1 + abs(n) * 0, '[)'), tstzrange(now() - random() * interval '9 days', now(), '(]'), int8multirange(some_range(g)::text::int8range, int8range(500 + rnd(g, 9), 600)),
    to_tsvector('simple', regexp_replace(some_text(g, 60), '[^ a-z]', ' ', 'g')), plainto_tsquery('simple', 'a ' || some_text(g, 9)), rnd(g, 1000000)::text::xid8,
    ('0/' || to_hex(rnd(g, 999999)))::pg_lsn, rnd(g, 2147483647)::oid, (array['int', 'text', 'pair', 'pg_catalog.date', 'mood[]'])[1 + rnd(g, 5)]::regtype,
    maybe(g, array[rnd(g, 9), null, rnd(g, 9)]), array[[some_float(g), 1], [null, some_float(g)]], maybe(g, array[some_text(g, 9), null, some_text(g, 9), '']),
    array[some_mood(g), null, some_mood(g)], some_mood(g), maybe(g, some_pair(g)), array[some_pair(g), null, some_pair(g)], left(some_text(g, 40), 40)::short,
    array[left(some_text(g, 20), 20)::short], hstore(some_text(g, 9), maybe(g, some_text(g, 9))), some_text(g, 20)::citext, ('a.' || rnd(g, 99) || '.c_' || rnd(g, 9))::ltree,
    array[date '2000-01-01' + rnd(g, 9999), 'infinity'], array[to_jsonb(some_text(g, 20))], array[some_bytes(g, 9), null], array[some_span(g)]
  from generate_series(first, last) g, lateral (select some_num(g) n, some_float(g) f offset 0) x $$;
insert into t select * from some_rows(1, 300);
