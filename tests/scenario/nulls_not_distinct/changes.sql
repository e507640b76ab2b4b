update one set v = 'z' where id = 1;
update one set v = null where id = 2;

delete from one where id = 2;
insert into one values (4, null);

update one set v = 'w' where id = 4;
update one set v = null where id = 3;
update one set v = 'y' where id = 1;

update pair set a = 2 where id = 2;
update pair set a = 1, b = null where id = 1;
update pair set a = null, b = null where id = 2;

update pair set id = id + 10;

insert into pair select g, g, null from generate_series(100, 200) g;

update pair set a = a + 1000 where id >= 100;
update pair set a = a - 999 where id between 100 and 150;

insert into identity values (null, 1, 'a'), (null, 2, 'b');

update identity set a = 3 where a = 1;
update identity set a = 1 where a = 2;
