insert into t select g, 'parent', repeat('p', 3000) from generate_series(1, 20) g;
insert into heir select g, 'heir', repeat('h', 3000), g from generate_series(1, 20) g;
insert into heir_of_heir select g, 'heir of heir', repeat('o', 3000), g from generate_series(1, 20) g;
insert into filtered select g, 'in' from generate_series(1, 9) g;
insert into filtered_heir select g, 'in' from generate_series(1, 9) g;
insert into keyless select 'same' from generate_series(1, 6);
insert into keyless_heir select 'same' from generate_series(1, 6);
insert into emptied select generate_series(1, 5);
insert into emptied_heir select generate_series(1, 5);
