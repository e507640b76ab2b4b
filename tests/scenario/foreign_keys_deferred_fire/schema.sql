create table parent (id int primary key, v text);
create table child (id int primary key, p int references parent deferrable initially deferred, v text);
