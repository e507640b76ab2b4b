insert into t select g, g, repeat(md5(g::text), 100) from generate_series(1, 40) g;

alter table t replica identity full;

update t set u = u + 100 where id <= 10;

delete from t where id = 11;

alter table t replica identity default;

update t set u = u + 100 where id between 12 and 20;

update t set id = id + 500 where id > 35;

delete from t where id = 21;
