insert into nothing default values;
insert into nothing default values;

delete from only_a_key where id = 1;
insert into only_a_key values (3);

update only_a_key set id = 4 where id = 2;

delete from nothing where ctid = (select min(ctid) from nothing);
