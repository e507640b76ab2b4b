create type "Stärke" as enum ('schwach', 'stärker');
create table t (id int primary key, v text, "größe" varchar(6), c char(4), k "Stärke", a text[], j json, b jsonb);
create table "Straße" ("Schlüssel" text primary key, "naïve" text);
create table keyless (v text);
alter table keyless replica identity full;
