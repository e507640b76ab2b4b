create table t (id int primary key, a int4range, b numrange, c tstzrange, d daterange, g tsrange);
