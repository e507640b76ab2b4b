insert into t values (2, '8');

insert into t values (3, 'nine');
