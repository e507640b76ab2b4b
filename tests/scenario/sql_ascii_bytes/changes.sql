-- in Latin 1, which nobody checked
insert into t values (3, E'M\xfcller');

insert into other values (2, 'goes on: ü');
