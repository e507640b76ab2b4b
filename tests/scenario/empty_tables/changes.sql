insert into none values (1, 'a');

delete from none;

update one set id = id;

insert into one values (1);
