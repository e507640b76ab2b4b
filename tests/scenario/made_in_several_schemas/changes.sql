insert into customers values (3, 3);
insert into "Stock Room".items values ('c', 3);
insert into sales.orders values (3, 3, 'c', 2);

update "Stock Room".items set sku = 'aa' where sku = 'a';

update sales.orders set parent = null where id = 2;
update customers set favourite = null where id = 1;
delete from sales.orders where id = 1;
