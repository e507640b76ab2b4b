create table customers_eu (id int primary key, name text);
create table customers_us (id int primary key, name text, state text);
insert into customers_eu select g, 'eu ' || g from generate_series(1, 100) g;
insert into customers_us select g, 'us ' || g, 'NY' from generate_series(50, 150) g;
