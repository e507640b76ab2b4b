create table both_virtual (id int primary key, a int, v int generated always as (a * 2), b text);
