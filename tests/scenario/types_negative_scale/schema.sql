create table t (id int primary key, j numeric(5, -2), k numeric(3, 6), key_too numeric(4, -3), unique (key_too));
