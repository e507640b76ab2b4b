create table nothing ();
alter table nothing replica identity full;
create table only_a_key (id int primary key);
create table never_filled (id int primary key, v text);
