delete from parent where id in (3, 4);

update parent set id = id + 1000 where id > 15;

delete from child where id between 40 and 60;

truncate parent cascade;

insert into parent values (1, 'again');
insert into child values (1, 1, 'again');
