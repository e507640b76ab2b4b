create table t (id int, region text, v text, primary key (id, region)) partition by list (region);
create table t_eu partition of t for values in ('eu');
create table t_us partition of t for values in ('us') partition by range (id);
create table t_us_1 partition of t_us for values from (0) to (100);
create table t_us_2 partition of t_us for values from (100) to (1000);
create table t_rest partition of t default;

insert into t select g, (array['eu', 'us', 'xx'])[g % 3 + 1], 'before' from generate_series(1, 60) g;
