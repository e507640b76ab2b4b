create schema "s.x""y";
create table "s.x""y"."T able;--" ("Id ""quoted""" int, "select" text, "ü, ö" text, "a'b" int, "$1" text, "%s" text, "new\nline" text, primary key ("Id ""quoted""", "a'b"));
create table public."UPPER" (id int primary key, "ID" text, "oid_" text);
create table public."a.b" (id int primary key, v text);
create table public.a (id int primary key, v text);
