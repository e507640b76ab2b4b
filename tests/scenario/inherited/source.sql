create table t (id int primary key, v text);
create table heir (primary key (id)) inherits (t);
