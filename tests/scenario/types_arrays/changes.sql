insert into t values
  (1, '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}'),
  (2, '[-2:0]={1,NULL,3}', array['', null, 'NULL', 'null', ' a ', '{x,y}', '"q"', E'back\\slash', E'new\nline', 'com,ma'], '{{1,2},{NaN,4.50}}', array['infinity'::timestamptz, null], array['\x'::bytea, '\x00ff', null], '{t,f,NULL}', array['{"a": [1, "x,y"]}'::jsonb, 'null', null], array['[1,5)'::int4range, 'empty', null]),
  (3, array(select generate_series(1, 5000)), array(select md5(g::text) from generate_series(1, 500) g), '[0:0][5:6]={{1,2}}', null, null, null, null, null);

update t set a[3] = 7 where id = 3;

update t set b = b || array['one more'] where id in (1, 2);
