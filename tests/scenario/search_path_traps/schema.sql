create schema trap;
create table t (id int primary key, v text, n numeric);
create table trap.t (id int primary key, v text, n numeric);
create function trap.int4eq(int, int) returns bool language sql as 'select false';
create function trap.ne(int, int) returns bool language sql as 'select true';
create operator trap.= (leftarg = int, rightarg = int, procedure = trap.ne);
create type trap.text as enum ('nope');
