alter table identity replica identity full;
insert into one values (1, null), (2, 'x'), (3, 'y');
insert into pair values (1, null, null), (2, 1, null), (3, null, 1);
