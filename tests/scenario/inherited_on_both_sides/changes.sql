update only t set v = 'parent alone' where id between 1 and 4;
update heir set v = 'both heirs' where id = 5;
update t set v = 'all' where id = 6;

delete from only t where id in (7, 8);
delete from only heir where id in (8, 9);
delete from only heir_of_heir where id = 10;

update only t set id = 107 where id = 11;
update only heir set id = 108, large = 'short' where id = 12;

insert into t values (8, 'again', 'short');
insert into heir values (200, 'only here', null, 1);

update only filtered set v = 'out' where id = 1;
update only filtered_heir set v = 'out' where id = 2;
update only filtered set id = 30 where id = 3;

delete from only keyless where ctid in (select ctid from only keyless limit 4);
update only keyless_heir set v = 'other' where ctid = (select min(ctid) from only keyless_heir);

truncate only emptied;

insert into emptied values (77);

delete from only heir where id in (select id from only heir where id > 15);
