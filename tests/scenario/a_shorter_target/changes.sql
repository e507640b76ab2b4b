insert into t values (1, 'short');
insert into other values (1);

insert into t values (2, 'much too long');
