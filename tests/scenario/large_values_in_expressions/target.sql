create table t (id int primary key, n int, words text, size int);
