insert into both_virtual (id, a, b) values (30, null, null);
insert into from_virtual (id, a, b) values (30, null, null);
insert into from_stored (id, a, b) values (30, null, null);

update both_virtual set a = a + 1000 where id > 10;
update from_virtual set a = a + 1000 where id > 10;
update from_stored set a = a + 1000 where id > 10;

update both_virtual set id = id + 100 where id < 4;

delete from both_virtual where v = 8;
delete from from_virtual where v = 8;

alter table from_virtual add later int generated always as (a + 1) virtual;
update from_virtual set a = 7 where id = 7;
