create table t (id int primary key, v text);
create table p (a int, b text, v int, primary key (b, a));
