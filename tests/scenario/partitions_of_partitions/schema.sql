create table t (id int, region text, v text, primary key (id, region)) partition by list (region);
create table t_eu partition of t for values in ('eu') partition by hash (id);
create table t_eu_0 partition of t_eu for values with (modulus 2, remainder 0);
create table t_eu_1 partition of t_eu for values with (modulus 2, remainder 1);
create table t_rest partition of t default;
