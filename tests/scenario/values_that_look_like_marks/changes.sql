update marks set t = t || t where id % 2 = 0;

update marks set id = id + 100, k = 'y' where id % 3 = 0;

update marks set large = t, larger = to_jsonb(t) where id % 5 = 0;

insert into marks select id + 1000, t, j, o, l, u, k, 'y', b, span, large, larger from marks where id < 10;

delete from marks where id in (101, 4, 1002);

begin;
update marks set l = l || '__debezium_unavailable_value'::text where id < 100;
update marks set m = 'y', o = null where id < 100;
commit;
