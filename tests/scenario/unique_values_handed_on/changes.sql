insert into t select g, g, 'e' from generate_series(1, 20) g;
insert into d select g, g from generate_series(1, 20) g;
insert into x select g, g % 3, int4range(g * 10, g * 10 + 9) from generate_series(1, 12) g;

update t set u = null where id = 1;

update t set u = 1 where id = 2;

begin;
update t set u = -3 where id = 3;
update t set u = 3 where id = 4;
update t set u = 4 where id = 3;
commit;

begin;
delete from t where id = 5;
insert into t values (105, 5, 'took it');
commit;

update d set u = 21 - u;

update d set u = u % 20 + 1;

begin;
delete from x where id = 3;
update x set during = int4range(30, 39), room = 0 where id = 6;
insert into x values (3, 0, int4range(60, 69));
commit;
