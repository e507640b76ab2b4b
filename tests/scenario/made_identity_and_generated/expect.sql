table always

table by_default

table not_the_key

table made

table serials

select attrelid::regclass::text, attname, format_type(atttypid, atttypmod), attnotnull, attidentity, attgenerated from pg_attribute where attrelid in ('always'::regclass, 'by_default'::regclass, 'made'::regclass) and attnum > 0 order by 1, attnum

select pg_get_expr(adbin, adrelid) from pg_attrdef where adrelid = 'made'::regclass order by 1

select seqtypid::regtype, seqstart, seqincrement, seqmin, seqmax, seqcache, seqcycle from pg_sequence where seqrelid = pg_get_serial_sequence('always', 'id')::regclass

select indexdef from pg_indexes where tablename = 'made' order by 1

source: select 'd' target: select attidentity from pg_attribute where attrelid = 'not_the_key'::regclass and attname = 'n'

source: select 'no default' target: select coalesce(pg_get_expr(adbin, adrelid), 'no default') from pg_attribute left join pg_attrdef on adrelid = attrelid and adnum = attnum where attrelid = 'serials'::regclass and attname = 'id'
