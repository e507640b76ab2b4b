insert into t values (2, 'A', '{}'), (3, null, null);

insert into shop.orders values (1, '(sad,"{A,b}")', array['(ok,)'::shop.line, null], 'ok');

update shop.orders set l.m = 'ok' where id = 1;
