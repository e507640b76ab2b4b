table customers

table "Stock Room".items

table sales.orders

select conrelid::regclass::text, conname, pg_get_constraintdef(oid), convalidated from pg_constraint where contype = 'f' and connamespace <> (select oid from pg_namespace where nspname = 'tablelift' union all select 0 limit 1) order by 1, 2
