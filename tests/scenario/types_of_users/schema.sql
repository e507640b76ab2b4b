create schema "Other Place";
create type mood as enum ('sad', 'ok', 'happy, very', 'with "quotes"', '');
create type "Other Place"."Kind" as enum ('A', 'b');
create domain positive as int check (value > 0);
create domain words as text[] check (array_length(value, 1) < 10);
create type pair as (a int, b text);
create type deep as (p pair, ps pair[], m mood, n positive);
create table t (id int primary key, m mood, ms mood[], k "Other Place"."Kind", p positive, w words, q pair, qs pair[], d deep, ds deep[]);
