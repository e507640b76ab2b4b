create table none (id int primary key, v text);
create table one (id int primary key);
