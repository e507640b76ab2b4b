insert into t values (1, 'é');
insert into other values (1, 'goes on: é');

insert into t values (2, '5 €');
