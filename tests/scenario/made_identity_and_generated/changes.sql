insert into always (v) select 'v' || g from generate_series(1, 20) g;
insert into by_default (v) select 'v' || g from generate_series(1, 20) g;
insert into not_the_key (k, v) select 'k' || g, 'v' from generate_series(1, 20) g;
insert into made (id, a) select g, g from generate_series(3, 20) g;
insert into serials (v) select 'v' || g from generate_series(1, 20) g;

update always set v = 'changed' where id % 2 = 1;

update always set id = default where v = 'v3';

insert into always (id, v) overriding system value values (1000, 'over');

update not_the_key set n = default, v = 'w' where k in ('k1', 'k2');

update made set a = a + 100 where id > 10;

update made set id = id + 50 where id < 4;

delete from made where id = 7;

update serials set id = id + 1000 where id > 15;
