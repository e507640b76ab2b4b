create table t (id int primary key, region text, v text);
alter table t replica identity full;
insert into t select g, (array['EU', 'US'])[g % 2 + 1], 'before' from generate_series(1, 40) g;
