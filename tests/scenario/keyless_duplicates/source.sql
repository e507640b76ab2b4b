alter table events replica identity nothing;

insert into t select g % 3, 'there before' from generate_series(1, 30) g;
