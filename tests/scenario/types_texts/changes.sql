insert into t values
  (1, '', '', '', '', '', '', '{"a": 1, "a": 2,   "b":null}', '{"a": 1, "b": [1, 2.50, "x"]}', '<a/>', b'10101', b'', 'a fat cat', 'fat & (cat | rat)', '$.a[*] ? (@ > 1)'),
  (2, E'tab\tnewline\nreturn\r backslash\\ quote'' "double" {brace} ,comma NULL', E'ä€𝄞\n', 'pad ', 'x', 'Name', '\x00ff0a0d5c', '[]', '"\u00e4"', '<b>&amp; text</b>', b'00000', b'1', 'a:1A b:2', '!a', 'strict $'),
  (3, E'\\N', 'NULL', E'\\.', E'\\', '\N', '\x5c4e', '"\\u0000"', 'null', 'plain', b'11111', b'0101010101', '''it''''s''', 'a <-> b', '$'),
  (4, repeat(E'\\"', 5000), 'null', '"', null, null, decode(repeat('00ff', 4000), 'hex'), ('"' || repeat('x', 9000) || '"')::json, null, null, null, null, null, null, null);

update t set a = a || 'more' where id in (2, 3);

update t set b = 'changed' where id = 4;
