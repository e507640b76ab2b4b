insert into parent select generate_series(1, 10);
insert into child select g, g from generate_series(1, 10) g;

update parent set id = id + 100 where id < 4;

delete from parent where id > 8 and id < 100;
