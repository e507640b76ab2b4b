create table t (a int, b text);
alter table t replica identity full;
create table events (at int, what text);
