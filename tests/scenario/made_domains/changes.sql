insert into t values (2, 9, '{a,b}', 'ok', 'abc', '(2,ok)', '{1,2,NULL}'), (3, null, null, 'sad', '', null, '{}');

update t set n = 1, c = 'z' where id = 1;

update t set id = 10 where id = 3;
