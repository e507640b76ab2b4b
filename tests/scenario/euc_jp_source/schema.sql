create table t (id int primary key, v text, short varchar(4), a text[], j json);
create table "注文" ("番号" text primary key, "名前" text);
