begin;
insert into a select g, g from generate_series(1, 20) g;
insert into b select g, g from generate_series(1, 20) g;
commit;

begin;
update a set b = 100 where id = 1;
insert into b values (100, 1);
delete from b where id = 1;
commit;
