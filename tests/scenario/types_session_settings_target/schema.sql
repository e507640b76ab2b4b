create table t (id int primary key, a timestamptz, b interval, c double precision, d bytea, e money, f date, g real, h xml);
