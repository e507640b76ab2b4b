insert into t select g, case when g < 50 then g + 1 end from generate_series(1, 50) g;

begin;
update t set parent = null where id = 10;
delete from t where id < 10;
commit;

update t set parent = 50 where id between 11 and 20;
