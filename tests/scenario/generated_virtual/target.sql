create table from_stored (id int primary key, a int, v int generated always as (a * 2) virtual, b text);
create table from_virtual (id int primary key, a int, v int generated always as (a * 2) stored, b text);
