update users set name = 'x', city = 'y' where id < 5;

update users set id = id + 100 where id > 15;

delete from users where id = 10;

insert into users values (500, 'n', 'e', 's', 'c');
