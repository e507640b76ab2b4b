insert into p values (1, '2030-01-01', 'done', 'x'), (99, '2030-01-01', 'done', 'x');

update p set at = '2031-01-01', v = 'moved' where id = 2;

update p set s = 'done' where id > 10;

insert into refers values (2, 99, '2030-01-01');

delete from p where id = 1;
