create table people (id int primary key, name text, email text);
create table addresses (person int primary key, street text, city text);
