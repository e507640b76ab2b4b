drop table t_2024;

alter table t detach partition t_2025;

-- nobody follows it meanwhile
update t_2025 set v = 'alone' where id % 2 = 0;

alter table t attach partition t_2025 for values from ('2025-01-01') to ('2026-01-01');

update t set v = 'again' where id % 7 = 0;

-- one comes with rows
create table filled (like t including all);
insert into filled select g, '2027-01-01'::date + g, 'filled', repeat(md5(g::text), 200) from generate_series(1, 300) g;

alter table t attach partition filled for values from ('2027-01-01') to ('2028-01-01');

update t set v = 'seen', id = id + 1000 where at between '2027-02-01' and '2027-02-10';

-- one comes empty
create table t_2028 partition of t for values from ('2028-01-01') to ('2029-01-01');

insert into t values (1, '2028-05-05', 'new', 'new');
