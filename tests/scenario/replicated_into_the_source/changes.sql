select pg_replication_origin_session_setup(current_database());

insert into t select g, 'theirs' from generate_series(21, 40) g;

select pg_replication_origin_xact_setup('0/12345678', '2026-01-01');
update t set v = v || ' changed' where id % 2 = 0;
delete from t where id % 5 = 0;

select pg_replication_origin_session_reset();

insert into t values (100, 'own again');

select pg_replication_origin_drop(current_database());
