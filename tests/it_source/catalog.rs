//! Slots, publications and the server's identity.

use crate::support::{Cluster, Db, World};
use crate::tap::{Tap, connection, endpoint, start};
use tablelift::change::{EndLsn, Lsn, TableName};
use tablelift::fate::Fate;
use tablelift::source::{
    Connection, SlotKind, SlotName, SnapshotUse, SourceError, WalStatus, drop_slot, publication, server_facts, slot_facts,
    slot_holder,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_from_birth_to_end() {
    let world = World::new("slot").await;
    let (db, session) = (&world.source, world.source.session().await);
    let name = SlotName::new(&db.name).unwrap();
    assert_eq!(slot_facts(&session, &name).await.unwrap(), None);

    db.batch("create table t (id int primary key); create publication p for table t; insert into t values (1)").await;
    let mut replication = connection(db).await;
    let made = replication.create_slot(&name, SlotKind::Permanent, SnapshotUse::Export).await.unwrap();
    db.batch("insert into t values (2)").await;
    let snapshot = made.snapshot.unwrap();
    session.batch_execute("begin isolation level repeatable read").await.unwrap();
    session.batch_execute(&format!("set transaction snapshot '{snapshot}'")).await.unwrap();
    assert_eq!(session.query_one("select count(*) from t", &[]).await.unwrap().get::<_, i64>(0), 1);
    session.batch_execute("commit").await.unwrap();

    let facts = slot_facts(&session, &name).await.unwrap().unwrap();
    assert_eq!(facts.confirmed, Some(made.consistent_point));
    assert_eq!((facts.plugin.as_deref(), facts.database.as_deref()), (Some("pgoutput"), Some(db.name.as_str())));
    assert_eq!((facts.wal_status, facts.active_pid, facts.temporary, facts.two_phase), (WalStatus::Reserved, None, false, false));
    assert!(facts.retained_bytes.unwrap() > 0 && facts.restart_lsn.unwrap() <= made.consistent_point.0);
    assert_eq!(facts.fits(&name).unwrap(), made.consistent_point);
    assert_eq!(replication.slot_facts(&name).await.unwrap().unwrap().confirmed, facts.confirmed);
    assert_eq!(slot_holder(&session, &name).await.unwrap(), None);

    drop_slot(&session, &name).await.unwrap();
    assert!(matches!(drop_slot(&session, &name).await, Err(SourceError::SlotMissing(_))));
    let temporary = replication.create_slot(&name, SlotKind::Temporary, SnapshotUse::None).await.unwrap();
    assert_eq!(temporary.snapshot, None);
    let facts = slot_facts(&session, &name).await.unwrap().unwrap();
    assert!(facts.temporary && facts.active_pid.is_some());
    assert!(matches!(drop_slot(&session, &name).await, Err(SourceError::SlotActive(_))));
    replication.drop_slot(&name).await.unwrap();
    assert_eq!(slot_facts(&session, &name).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_that_cannot_be_read_says_why() {
    let tap = Tap::new("unfit", "create table t (id int)").await;
    let db = tap.db();
    let reader = tap.read().await;
    let error = start(tap.config()).await.unwrap_err();
    assert!(matches!(error, SourceError::SlotActive(_)) && error.fate() == Fate::Retry, "{error}");
    let holder = slot_holder(&db.session().await, &tap.slot).await.unwrap().unwrap();
    assert_eq!((holder.application.as_deref(), holder.client_address.as_deref()), (Some("test"), Some("127.0.0.1/32")));
    drop(reader);

    let mut config = tap.config();
    config.slot = SlotName::new(format!("{}_not", db.name)).unwrap();
    let error = start(config.clone()).await.unwrap_err();
    assert!(matches!(error, SourceError::SlotMissing(_)) && error.fate() == Fate::Halt, "{error}");
    db.batch(&format!("select pg_create_logical_replication_slot('{}', 'test_decoding')", config.slot)).await;
    let error = start(config.clone()).await.unwrap_err();
    assert!(matches!(error, SourceError::SlotUnfit { what: "plugin", .. }) && error.fate() == Fate::Halt, "{error}");
    db.batch(&format!("select pg_drop_replication_slot('{}')", config.slot)).await;

    let mut config = tap.config();
    config.endpoint.database = "postgres".into();
    let error = start(config).await.unwrap_err();
    assert!(matches!(error, SourceError::SlotUnfit { what: "database", .. }), "{error}");

    let mut config = tap.config();
    config.publications.push("it's not there".into());
    let error = start(config).await.unwrap_err();
    assert!(matches!(&error, SourceError::PublicationMissing(name) if name == "it's not there"), "{error}");
    assert_eq!(error.fate(), Fate::Halt);
}

/// A slot that is older than its publication, as the server's catalogs of that time show it: a hole if it went unnoticed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publication_that_came_later_halts() {
    let tap = Tap::new("later", "create table t (id int)").await;
    tap.db().each(&["insert into t values (1)", "create publication later for table t"]).await;
    let mut config = tap.config();
    config.publications = vec!["later".into()];
    let error = crate::tap::end_of(&mut start(config).await.unwrap()).await;
    assert_eq!(error.fate(), Fate::Halt, "{error}");
    let skipped = matches!(&error, SourceError::PublicationSkipped(_));
    assert!(skipped || error.sqlstate() == Some("42704"), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publications_as_the_catalog_has_them() {
    let world = World::new("publications").await;
    let (db, session) = (&world.source, world.source.session().await);
    db.batch("create schema \"S x\"; create table \"S x\".\"T\"\"q\" (id int primary key, a text, b text); create table plain (id int primary key);
        create table parted (id int primary key) partition by range (id); create table leaf partition of parted default").await;
    let hostile = TableName::new("S x", "T\"q");
    let (plain, parted) = (TableName::new("public", "plain"), TableName::new("public", "parted"));
    assert_eq!(publication::publication(&session, "p q").await.unwrap(), None);
    db.batch(&publication::create_sql("p q", std::slice::from_ref(&hostile), publication::Published::ALL)).await;
    db.batch(&publication::add_sql("p q", &[plain.clone(), parted.clone()])).await;
    let found = publication::publication(&session, "p q").await.unwrap().unwrap();
    assert_eq!((found.owner.as_str(), found.all_tables, found.via_root), ("postgres", false, true));
    assert_eq!(found.published, publication::Published::ALL);
    let names: Vec<_> = found.tables.iter().map(|table| table.name.clone()).collect();
    assert_eq!(names, [hostile.clone(), parted.clone(), plain.clone()]);
    assert!(found.tables.iter().all(|table| !table.partial && !table.filtered));

    db.batch(&publication::remove_sql("p q", &[hostile.clone(), parted])).await;
    if db.number("select current_setting('server_version_num')").await < 150_000 {
        return; // no lists of columns, no filters
    }
    db.batch("alter publication \"p q\" add table \"S x\".\"T\"\"q\" (id, b) where (id > 5)").await;
    let found = publication::publication(&session, "p q").await.unwrap().unwrap();
    assert!(found.tables[0].partial && found.tables[0].filtered);

    db.batch(&publication::create_sql("i", &[], publication::Published::INSERTS)).await;
    let inserts = publication::publication(&session, "i").await.unwrap().unwrap();
    assert_eq!((inserts.published, inserts.tables.len()), (publication::Published::INSERTS, 0));
    db.batch(&publication::drop_sql("i")).await;
    db.batch(&publication::drop_sql("i")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_promoted_standby_tells_its_history() {
    let primary = Cluster::source(&[]).await;
    let standby = primary.standby().await;
    let on = |cluster: &Cluster| Db::new(cluster.port, "postgres");
    let (first, second) = (on(&primary), on(&standby));
    let facts = server_facts(&first.session().await).await.unwrap();
    assert_eq!((facts.timeline, facts.in_recovery, facts.wal_level.as_str()), (1, false, "logical"));
    assert!(facts.version >= 130_000 && facts.max_wal_senders == 120 && facts.wal_sender_timeout.as_secs() == 60);
    let mut connection = connection(&first).await;
    let identity = connection.identify().await.unwrap();
    assert_eq!((identity.timeline, &identity.system_id), (1, &facts.system_id));
    let error = connection.timeline_history(1).await.unwrap_err();
    assert_eq!(error.fate(), Fate::Halt, "timeline 1 has no history: {error}");
    assert_eq!(connection.query("say one", "SELECT 1, NULL, ''").await.unwrap()[0].text(0), Some("1"), "it can go on");

    let facts = server_facts(&second.session().await).await.unwrap();
    assert!(facts.in_recovery && facts.system_id == identity.system_id);
    standby.promote().await;
    let facts = server_facts(&second.session().await).await.unwrap();
    assert_eq!((facts.timeline, facts.in_recovery), (2, false));
    let mut connection: Connection = crate::tap::connection(&second).await;
    assert_eq!(connection.identify().await.unwrap().timeline, 2);
    let history = connection.timeline_history(2).await.unwrap();
    let left = history.left_at(1).unwrap();
    assert!(left > Lsn(0) && left <= facts.insert_lsn, "{left} {}", facts.insert_lsn);
    assert_eq!(history.left_at(2), None);
}

/// A slot whose WAL was removed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_slot_halts() {
    let conf = ["max_slot_wal_keep_size = 1MB", "min_wal_size = 32MB", "max_wal_size = 64MB"];
    let tap = Tap::within(World::own_source("lost", crate::support::Log::Local, &conf).await, "create table t (v text)").await;
    for _ in 0..6 {
        tap.db()
            .each(&[
                "insert into t select repeat('x', 1000) from generate_series(1, 10000)",
                "select pg_switch_wal()",
                "checkpoint",
            ])
            .await;
    }
    let facts = slot_facts(&tap.db().session().await, &tap.slot).await.unwrap().unwrap();
    assert_eq!(facts.wal_status, WalStatus::Lost, "{facts:?}");
    let error = start(tap.config()).await.unwrap_err();
    assert!(matches!(error, SourceError::SlotLost(_)) && error.fate() == Fate::Halt, "{error}");
    assert_eq!(facts.confirmed.map(|lsn| lsn > EndLsn::default()), Some(true));
    drop(endpoint(tap.db(), 1));
}
