create table t (a int, b text, v int, primary key (a, b));
