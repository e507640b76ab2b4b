insert into parent select g, 'p' from generate_series(1, 20) g;
insert into child select g, g % 20 + 1, 'c' from generate_series(1, 100) g;
insert into grandchild select g, g % 100 + 1, 'g' from generate_series(1, 200) g;
