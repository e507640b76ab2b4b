create extension btree_gist;
create table room (id int, during daterange, guest text, primary key (id, during without overlaps));
create table stay (id int, during daterange, note text, foreign key (id, period during) references room, primary key (id, during without overlaps));
insert into room select g, daterange('2026-01-01', '2026-02-01'), 'guest' || g from generate_series(1, 20) g;
insert into stay select g, daterange('2026-01-03', '2026-01-05'), null from generate_series(1, 20) g;
