table p

table refers

source: select 'r' target: select relkind from pg_class where oid = 'p'::regclass

source: select 'one table' target: select case count(*) when 2 then 'one table' end from pg_class where relkind in ('r', 'p') and relnamespace = 'public'::regnamespace

select indexdef from pg_indexes where tablename = 'refers'

select conname, pg_get_constraintdef(oid), convalidated from pg_constraint where conrelid = 'refers'::regclass and conparentid = 0 and contype <> 'n' order by 1
