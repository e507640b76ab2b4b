create table t (id int primary key, v text);
create table heir (id int primary key, v text);
