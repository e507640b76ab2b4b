create table parent (id int primary key);
create table child (id int primary key, parent int references parent on delete cascade on update cascade);
