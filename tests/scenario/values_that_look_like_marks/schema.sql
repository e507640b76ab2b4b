-- what other movers put in the place of a value that they do not have, and what COPY or JSON might take for something else
create schema one;
create schema two;
create type one.kind as enum ('x', 'y', '__debezium_unavailable_value');
create type two.kind as enum ('y', 'z');
create table marks (
  id int primary key, t text, j jsonb, o json, l text[], u uuid[], k one.kind, m two.kind, b bytea,
  span interval, large text, larger jsonb
);
alter table marks alter large set storage external, alter larger set storage external;
