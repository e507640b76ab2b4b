table t

source: table shop.orders target: table service.orders

select attname, format_type(atttypid, atttypmod) from pg_attribute where attrelid = 't'::regclass and attnum > 0 order by attnum

select t.oid::regtype::text, enumlabel from pg_enum join pg_type t on t.oid = enumtypid order by 1, enumsortorder
