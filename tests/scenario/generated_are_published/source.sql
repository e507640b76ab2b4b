alter table full_identity replica identity full;
alter table made add v int generated always as (a + 1) virtual;
create publication theirs for all tables with (publish_generated_columns = stored, publish_via_partition_root = true);
insert into made (id, a, c) select g, g, 'c' || g from generate_series(1, 20) g;
insert into full_identity (a, c) select g, 'c' || g from generate_series(1, 20) g;
insert into between (id, a) select g, g from generate_series(1, 20) g;
