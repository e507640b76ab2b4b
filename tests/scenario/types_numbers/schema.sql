create table t (id int primary key, a smallint, b int, c bigint, d numeric, e numeric(20, 5), f real, g double precision, h money, i oid, j numeric(5, 0));
