create table t (id int primary key, a int8multirange, b tsmultirange, c nummultirange);
