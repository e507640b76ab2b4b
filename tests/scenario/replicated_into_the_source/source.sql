-- as a subscription does, whose changes carry an origin
select pg_replication_origin_create(current_database());
insert into t select g, 'own' from generate_series(1, 20) g;
