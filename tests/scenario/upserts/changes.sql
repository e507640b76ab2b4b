insert into t select g, 'u' || g, 1 from generate_series(50, 150) g on conflict (id) do update set n = t.n + 1000;

insert into t values (1, 'x', 1) on conflict do nothing;

insert into t values (999, 'u7', 7) on conflict (u) do update set id = excluded.id, n = -1;

with gone as (delete from t where id < 20 returning *) insert into t select id + 5000, u, n from gone;

with recursive r(i) as (select 1 union all select i + 1 from r where i < 10) update t set n = r.i from r where t.id = 100 + r.i;
