insert into t select g, 'parent' from generate_series(1, 10) g;
insert into heir select g, 'heir' from generate_series(5, 15) g;

update t set v = 'both' where id between 4 and 7;

delete from only t where id = 8;

delete from heir where id = 9;
