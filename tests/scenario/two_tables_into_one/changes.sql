update customers_eu set name = 'changed' where id % 10 = 0;

update customers_us set id = id + 1000 where id % 7 = 0;

delete from customers_eu where id between 50 and 60;

insert into customers_us values (1, 'new', 'CA');

truncate customers_eu;

insert into customers_eu values (1, 'the only one');
