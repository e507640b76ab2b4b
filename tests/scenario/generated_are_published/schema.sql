create table made (id int primary key, a int, b int generated always as (a * 2) stored, c text);
create table full_identity (a int, b text generated always as ('b' || a) stored, c text);
create table between (b int generated always as (a * 3) stored, id int primary key, a int);
