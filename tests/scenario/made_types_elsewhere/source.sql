create schema "Other Place";
create schema shop;
create type "Other Place"."Kind" as enum ('A', 'b');
create domain "Other Place".kinds as "Other Place"."Kind"[];
create type mood as enum ('sad', 'ok');
create type shop.line as (m public.mood, k "Other Place".kinds);
create table t (id int primary key, k "Other Place"."Kind" default 'A', ks "Other Place".kinds);
create table shop.orders (id int primary key, l shop.line, ls shop.line[], m mood);
insert into t values (1, 'b', '{A,b}');
