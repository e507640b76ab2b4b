create table t (id int primary key, v text, large text);
alter table t alter large set storage external;
create table heir (more int, primary key (id)) inherits (t);
alter table heir alter large set storage external;
create table heir_of_heir (primary key (id)) inherits (heir);

create table filtered (id int primary key, v text);
create table filtered_heir (primary key (id)) inherits (filtered);

create table keyless (v text);
alter table keyless replica identity full;
create table keyless_heir () inherits (keyless);
alter table keyless_heir replica identity full;

create table emptied (id int primary key);
create table emptied_heir (primary key (id)) inherits (emptied);
