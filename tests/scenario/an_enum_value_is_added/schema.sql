create type mood as enum ('sad', 'ok');
create table t (id int primary key, m mood);
create table other (id int primary key, v text);
insert into t values (1, 'sad');
