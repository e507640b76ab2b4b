insert into t (v) select 'w' || g from generate_series(1, 100) g;

update t set id = uuidv7() where v like 'v5%';

delete from t where v like 'w7%';
