update orders_eu set note = 'changed ' || id where id % 10 = 0;

update orders_us set id = id + 1000 where id % 7 = 0;

delete from orders_eu where id between 50 and 60;

insert into orders_us values (1, 'new', 'CA');

begin;
delete from orders_eu where id = 70;
insert into orders_us values (70000, 'eu 70', 'moved');
commit;

truncate orders_jp;

insert into orders_jp values (1, 'the only one'), (2, 'or not');

begin;
truncate orders_eu;
insert into orders_eu select g, 'again ' || g, null from generate_series(90, 110) g;
commit;

delete from orders_us where id < 60;
