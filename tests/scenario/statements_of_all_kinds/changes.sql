copy t (id) from program 'seq 1 500';

insert into t values (1, 'conflict', 2), (501, 'new', 2) on conflict (id) do update set v = excluded.v, n = t.n + excluded.n;

insert into t values (2, 'nothing', 0) on conflict do nothing;

insert into feed values (3, 'merged'), (4, null), (502, 'inserted');

with gone as (delete from t where id between 10 and 20 returning *), kept as (insert into feed select id, v from gone returning id)
update t set n = 100 where id in (select id + 20 from gone);

update t set v = x.v from (values (30, 'joined'), (31, null)) as x (id, v) where t.id = x.id;
