create table parent (id int primary key, v text);
create table child (id int primary key, p int references parent on delete cascade on update cascade, v text);
create table grandchild (id int primary key, c int references child on delete set null, v text);
