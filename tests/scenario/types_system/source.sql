insert into t values
  (1, 'named', 'timestamp with time zone', 'now', 'named(int)', '||/', '+(int,int)', 'postgres', 'pg_catalog', 'simple', 'simple', '"C"',
   '4294967295', '18446744073709551615', '4294967295', '(4294967295,65535)', '10:20:10,14,15', 'a cursor', '1 2 4294967295', '-1 2 3', '{a,NULL,"\\"}', '{named,pg_class}',
   'postgres=r/postgres'),
  (2, null, null, null, null, null, null, null, null, null, null, null, '0', '0', '0', '(0,0)', '1:1:', '', '', '', '{}', '{}', null),
  (3, '0', '-', '-', '-', '0', '0', '-', '-', '-', '-', '-', null, null, null, null, null, null, null, null, null, null, null);
