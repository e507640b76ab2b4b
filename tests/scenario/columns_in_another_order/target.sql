create table t (extra text default 'of the target', d json, c bigint, b text, a varchar(100), id bigint primary key, at timestamptz default now());
