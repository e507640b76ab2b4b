create table one (id int primary key, v text, unique nulls not distinct (v));
create table pair (id int primary key, a int, b int);
create unique index on pair (a, b) nulls not distinct;
create table identity (id int, a int not null, v text, unique nulls not distinct (a));
