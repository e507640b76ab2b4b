table t

select typname, format_type(typbasetype, typtypmod), typnotnull, typdefault, typcollation from pg_type where typtype = 'd' and typnamespace = 'public'::regnamespace order by 1

select contypid::regtype::text, conname, pg_get_constraintdef(oid) from pg_constraint where contypid <> 0 and connamespace = 'public'::regnamespace and contype = 'c' order by 1, 2
