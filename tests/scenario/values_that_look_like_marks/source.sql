insert into marks
  select g, v, to_jsonb(v), to_json(v), array[v, null, v], array['ffffffff-ffff-ffff-ffff-ffffffffffff', null]::uuid[],
    '__debezium_unavailable_value', 'z', convert_to(v, 'UTF8'), '-1 mon +2 days -0.000001',
    v || repeat(md5(g::text), 300), to_jsonb(v || repeat(md5(g::text), 300))
  from unnest(array['__debezium_unavailable_value', 'X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ==', '\N', '\\N', '\.', 'NULL', 'null', '', '{}', '{NULL}',
    '"NULL"', '\x', '\x00', e'\t', e'\r\n', e'\\', '$1', ':name', '%s', '${x}', 'tablelift', 'unchanged', '?'])
    with ordinality as v(v, g);
