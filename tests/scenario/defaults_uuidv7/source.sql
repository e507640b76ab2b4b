create table t (id uuid primary key default uuidv7(), v text);
insert into t (v) select 'v' || g from generate_series(1, 100) g;
