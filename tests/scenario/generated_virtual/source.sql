create table from_stored (id int primary key, a int, v int generated always as (a * 2) stored, b text);
create table from_virtual (id int primary key, a int, v int generated always as (a * 2) virtual, b text);
insert into both_virtual (id, a, b) select g, g, 'b' from generate_series(1, 20) g;
insert into from_stored (id, a, b) select g, g, 'b' from generate_series(1, 20) g;
insert into from_virtual (id, a, b) select g, g, 'b' from generate_series(1, 20) g;
