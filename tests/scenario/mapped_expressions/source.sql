create table orders (id int primary key, first text, last text, cents bigint, state char(1), doc jsonb, at timestamptz, blob bytea, country text);
