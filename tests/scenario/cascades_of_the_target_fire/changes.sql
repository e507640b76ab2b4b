delete from parent where id in (3, 4);

update parent set id = id + 1000 where id > 15;

delete from child where id between 40 and 60;
