insert into always (v) select 'v' || g from generate_series(1, 20) g;
insert into by_default (v) select 'v' || g from generate_series(1, 20) g;
insert into made (id, a) select g, g from generate_series(1, 20) g;
insert into serials (v) select 'v' || g from generate_series(1, 20) g;

update always set v = 'changed' where id % 2 = 0;

insert into always (id, v) overriding system value values (1000, 'over');

delete from always where id = 3;

update made set a = a + 100 where id > 10;

update made set id = id + 50 where id < 4;

update serials set id = id + 1000 where id > 15;
