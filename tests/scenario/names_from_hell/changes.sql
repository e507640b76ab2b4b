insert into "s.x""y"."T able;--" select g, 's', 'u', g, '1', '%', 'n' from generate_series(1, 20) g;
insert into "UPPER" values (1, 'I', 'o');
insert into "a.b" values (1, 'with a dot');
insert into a values (1, 'without');

update "s.x""y"."T able;--" set "a'b" = "a'b" + 100, "select" = 'x' where "Id ""quoted""" < 5;

update "UPPER" set "ID" = 'J';

delete from "s.x""y"."T able;--" where "Id ""quoted""" > 15;
