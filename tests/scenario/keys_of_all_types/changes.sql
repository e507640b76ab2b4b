insert into numerics values (1.0, 1), ('NaN', 2), (-0.50, 3), ('Infinity', 4);
insert into floats values ('-0', 1), ('NaN', 2), (1e-300, 3), ('Infinity', 4);
insert into stamps values ('infinity', 1), ('2020-01-01 00:00:00.000001+00', 2), ('4000-01-01 00:00:00+00 BC', 3);
insert into bools values (true, 1), (false, 2);
insert into bytes values ('', 1), ('\x00', 2), ('\xff5c27', 3);
insert into docs values ('{"a": 1.0}', 1), ('[]', 2), ('null', 3);
insert into lists values ('{}', 1), ('{1,NULL}', 2), ('[0:1]={1,2}', 3);
insert into spans values ('empty', 1), ('[1,)', 2), ('(,)', 3);
insert into chars values ('a', 1), ('', 2), ('abcde', 3);
insert into enums values ('a', 1), ('b', 2);
insert into words values ('', 1), (E'tab\t', 2), ('ä', 3), (' ', 4);
insert into nets values ('10.0.0.1', 1), ('10.0.0.1/8', 2), ('::1', 3);
insert into days values ('-infinity', 1), ('2020-02-29', 2);
insert into times values ('1 mon', 1), ('0', 2);

update numerics set v = v + 10 where id = 1;

-- equal, and written otherwise
update numerics set id = 1.000 where id = 1;

update floats set v = v + 10 where id = 0;

update floats set id = 0 where id = 0;

update stamps set v = v + 10;

delete from bools where id;

update bytes set v = v + 10 where id = '\x00';

delete from bytes where id = '';

update docs set id = '{"a": 1.00}' where id = '{"a": 1}';

update docs set v = 7 where id = '{"a": 1}';

update lists set v = v + 10;

delete from lists where id = '{}';

update spans set v = v + 10;

update chars set v = v + 10;

delete from chars where id = 'a';

delete from enums where id = 'b';

update words set v = v + 10;

delete from words where id = ' ';

update nets set v = v + 10;

update days set v = v + 10;

-- 30 days equal a month
update times set id = '30 days' where id = '1 mon';

update times set v = 70 where id = '30 days';
