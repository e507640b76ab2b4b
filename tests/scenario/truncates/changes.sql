insert into parent select g, 'v' from generate_series(1, 50) g;
insert into child select g, g from generate_series(1, 50) g;
insert into s (v) select 'v' from generate_series(1, 50) g;

truncate parent cascade;

insert into parent values (1, 'a'), (2, 'b');
insert into child values (7, 1);

truncate s restart identity;

insert into s (v) values ('first again');

begin;
insert into s (v) values ('gone');
truncate s, child;
insert into s (v) values ('stays');
insert into child values (8, 2);
commit;

begin;
truncate s;
rollback;
