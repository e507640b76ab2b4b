create table t (id int primary key, a date, b time, c timetz, d timestamp, e timestamptz, f interval, g timestamp(3), h time(0), i interval year to month);
