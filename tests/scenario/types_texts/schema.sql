create table t (id int primary key, a text, b varchar(10), c char(8), d "char", e name, f bytea, g json, h jsonb, i xml, j bit(5), k bit varying, l tsvector, m tsquery, n jsonpath);
