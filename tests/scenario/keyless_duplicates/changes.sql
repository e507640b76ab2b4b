insert into t select 1, 'same' from generate_series(1, 10);

insert into t values (null, null), (null, null), (2, null);

delete from t where ctid in (select ctid from t where b = 'same' limit 4);

update t set b = 'changed' where ctid = (select ctid from t where b = 'same' limit 1);

delete from t where a is null and ctid = (select min(ctid) from t where a is null);

update t set a = 5;

insert into events select g, 'e' from generate_series(1, 20) g;
