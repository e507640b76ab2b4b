create table orders_eu (id int primary key, note text, price numeric(10,2));
create table orders_us (id int primary key, note text, state text);
create table orders_jp (nr bigint primary key, note text);
insert into orders_eu select g, 'eu ' || g, g * 1.5 from generate_series(1, 100) g;
insert into orders_us select g, 'us ' || g, 'NY' from generate_series(50, 150) g;
insert into orders_jp select g, 'jp ' || g from generate_series(100, 120) g;
