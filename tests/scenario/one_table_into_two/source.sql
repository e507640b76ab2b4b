create table users (id int primary key, name text, email text, street text, city text);
insert into users select g, 'n' || g, 'e' || g, 's' || g, 'c' || g from generate_series(1, 20) g;
