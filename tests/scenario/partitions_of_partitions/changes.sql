truncate t_eu_1;

alter table t_eu detach partition t_eu_0;

truncate t_eu_0;

insert into t_eu_0 select id, 'eu', 'alone' from (select generate_series(1, 400) id) g where satisfies_hash_partition('t_eu'::regclass, 2, 0, id);

alter table t_eu attach partition t_eu_0 for values with (modulus 2, remainder 0);

alter table t detach partition t_rest;

create table t_us partition of t for values in ('us');

insert into t select g, 'us', 'anew' from generate_series(1000, 1100) g;

-- all at once, which the stream tells
truncate t_us, t_rest;

insert into t select g, 'us', 'last' from generate_series(1050, 1200) g;
