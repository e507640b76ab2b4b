table t

table keyed

select typname, enumlabel from pg_enum join pg_type t on t.oid = enumtypid where typname <> 'nobody_uses_it' order by typname, enumsortorder

select t.typname, attname, format_type(atttypid, atttypmod) from pg_attribute join pg_type t on typrelid = attrelid where typname in ('pair', 'deep') order by 1, attnum

select attname, format_type(atttypid, atttypmod) from pg_attribute where attrelid = 't'::regclass and attnum > 0 order by attnum

source: select 'nobody_uses_it is not made' target: select case when to_regtype('nobody_uses_it') is null then 'nobody_uses_it is not made' end
