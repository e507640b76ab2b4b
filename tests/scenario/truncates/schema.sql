create table parent (id int primary key, v text);
create table child (id int primary key, parent int references parent);
create table s (id serial primary key, v text);
