-- neighbours change places
begin; set constraints all deferred; update t set during = int4range(20, 30) where id = 1; update t set during = int4range(10, 20) where id = 2; commit;

delete from t where id between 10 and 20;
insert into t select g + 100, int4range(g * 10, g * 10 + 10) from generate_series(10, 20) g;

update t set during = int4range(100000, 100010) where id = 30;

insert into t values (1000, int4range(300, 310));
