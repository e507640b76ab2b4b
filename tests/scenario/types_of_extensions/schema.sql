create extension citext;
create extension hstore;
create extension ltree;
create table t (id citext primary key, h hstore, l ltree, ls ltree[], q lquery);
