//! What happens to a connector over its life: signals in bad moments, failovers, wrong servers, prepared transactions.

use crate::both_logs;
use crate::support::{Daemon, Log, PATIENCE, World, eventually};
use std::time::{Duration, Instant};

// A lock on the target keeps an open transaction from ending: SIGTERM rolls it back in time, a second SIGINT cuts it short.
both_logs!(signals_while_the_target_is_locked, |w| {
    w.both("create table t (id int primary key, v text)").await;
    w.connector("[[table]]\nsource = 'public.t'");
    for text in ["again", "lock"] {
        w.expect_log(text);
    }
    for signal in ["term", "int twice"] {
        let mut d = Daemon::run(&w);
        w.settle().await;
        let other = w.target.session().await;
        other.batch_execute("begin; lock table t in access exclusive mode").await.unwrap();
        w.source
            .batch(&format!("insert into t select (select count(*) from t) + g, '{signal}' from generate_series(1, 10) g"))
            .await;
        eventually("it waits for the lock", PATIENCE, async || {
            w.target.text("select count(*) > 0 from pg_locks where not granted and relation = 't'::regclass").await == "t"
        })
        .await;
        let start = Instant::now();
        if signal == "term" {
            d.term();
            assert_eq!(d.exit().await, 0, "{}", d.log());
        } else {
            d.int();
            d.logged("SIGINT").await;
            d.int();
            let code = d.exit().await;
            assert!(code == 130 || (code == 0 && start.elapsed() < Duration::from_secs(2)), "{code}: {}", d.log());
        }
        assert!(start.elapsed() < Duration::from_secs(11), "{signal}: {:?}", start.elapsed());
        other.batch_execute("commit").await.unwrap();
    }
    let _d = Daemon::run(&w);
    w.settle().await;
    w.equal("table t").await;
});

/// The source's standby is promoted. It has no slot (before 17): never a silent hole.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_promoted_standby_without_the_slot() {
    let w = World::own_source("failover", Log::Local, &[]).await;
    w.both("create table t (id int primary key)").await;
    w.connector("[[table]]\nsource = 'public.t'");
    for text in ["again", "slot", "closed", "timeline"] {
        w.expect_log(text);
    }
    let source = w.source_cluster.as_ref().unwrap();
    let standby = source.standby().await;
    let mut d = Daemon::run(&w);
    w.source.batch("insert into t values (1)").await;
    w.settle().await;
    d.term();
    assert_eq!(d.exit().await, 0);
    drop(d);
    source.stop("immediate").await;
    standby.promote().await;
    *w.source_url.lock().unwrap() = w.source.url().replace(&w.source.port.to_string(), &standby.port.to_string());
    w.connector("[[table]]\nsource = 'public.t'");
    let out = w.cli("run", &["--endpos", "current"]).await.assert_code(1);
    assert!(out.stderr.contains("hint:"), "{out:#?}");
}

// The URL leads to another server than the one that was recorded, or to another database of it.
both_logs!(a_wrong_server, |w| {
    w.both("create table t (id int primary key)").await;
    w.connector("[[table]]\nsource = 'public.t'");
    w.source.batch("insert into t values (1)").await;
    w.cli("run", &["--endpos", "current"]).await.assert_code(0);
    let right = w.source_url.lock().unwrap().clone();
    *w.source_url.lock().unwrap() = w.target.url().replace(&w.target.name, "postgres");
    w.connector("[[table]]\nsource = 'public.t'");
    let out = w.cli("run", &["--endpos", "current"]).await.assert_code(1);
    assert!(out.all().contains("hint:"), "{out:#?}");
    *w.source_url.lock().unwrap() = right;
    w.connector("[[table]]\nsource = 'public.t'");
    w.source.batch("insert into t values (2)").await;
    w.cli("run", &["--endpos", "current"]).await.assert_code(0);
    w.equal("table t").await;
});

// `--endpos` with a halted table is a no.
both_logs!(until_a_position_with_a_halted_table, |w| {
    w.both("create table t (id int primary key)").await;
    w.target.batch("alter table t add check (id < 5)").await;
    w.connector("[[table]]\nsource = 'public.t'");
    w.cli("run", &["--endpos", "current"]).await.assert_code(0);
    w.source.batch("insert into t values (4), (5)").await;
    w.cli("run", &["--endpos", "current"]).await.assert_code(1);
    assert_eq!(w.target.text("select count(*) from t where id >= 5").await, "0");
});

/// Two-phase commits of the application arrive when they are committed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prepared_transactions() {
    let w = World::own_source("twophase", Log::Local, &[]).await;
    w.both("create table t (id int primary key, v text)").await;
    w.connector("[[table]]\nsource = 'public.t'");
    let d = Daemon::run(&w);
    w.settle().await;
    w.source
        .each(&[
            "begin; insert into t values (1, 'prepared'); prepare transaction 'one'",
            "begin; insert into t values (2, 'never'); prepare transaction 'two'",
            "insert into t values (3, 'between')",
        ])
        .await;
    w.settle().await;
    assert_eq!(w.target.text("table t").await, "3|between");
    d.kill9();
    let _d = Daemon::run(&w);
    w.source.each(&["commit prepared 'one'", "rollback prepared 'two'", "insert into t values (4, 'after')"]).await;
    w.settle().await;
    w.equal("table t").await;
}

/// A long transaction on the source that began before everything holds nobody up, and comes whole at its end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_transaction() {
    let w = World::own_source("long", Log::Local, &[]).await;
    w.both("create table t (id int primary key, v text)").await;
    w.connector("[[table]]\nsource = 'public.t'");
    let d = Daemon::run(&w);
    w.settle().await;
    let long = w.source.session().await;
    long.batch_execute("begin; insert into t select g, 'long' from generate_series(1, 5000) g").await.unwrap();
    for n in 10_001..10_020 {
        w.source.batch(&format!("insert into t values ({n}, 'short')")).await;
    }
    w.settle().await;
    assert_eq!(w.target.text("select count(*), min(v) from t").await, "19|short");
    d.kill9();
    let _d = Daemon::run(&w);
    w.source.batch("insert into t values (10020, 'short')").await;
    w.settle().await;
    long.batch_execute("update t set v = v || '!' where id < 100; commit").await.unwrap();
    w.settle().await;
    w.equal("table t").await;
}

// Half of the source's life is DDL on other tables, other databases, vacuums: nothing of it disturbs.
both_logs!(life_around_it, |w| {
    w.both("create table t (id int primary key, v text)").await;
    w.connector("[[table]]\nsource = 'public.t'");
    let _d = Daemon::run(&w);
    w.settle().await;
    for n in 0..5 {
        w.source
            .each(&[
                &format!("create table noise{n} as select g from generate_series(1, 1000) g"),
                &format!("alter table noise{n} add column x int default 5"),
                &format!("insert into t values ({n}, 'x')"),
                "vacuum full t",
                "analyze",
                "create index concurrently on t (v)",
                "reindex table t",
                &format!("drop table noise{n}"),
                "alter table t alter column v set statistics 100",
                "comment on table t is 'ours'",
                "grant select on t to public",
            ])
            .await;
    }
    w.source.batch("update t set v = 'y' where id = 1").await;
    w.settle().await;
    w.equal("table t").await;
});

/// A busy neighbour, in another database of the same server, does not make our slot hold its WAL.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_busy_neighbour() {
    let w = World::own_source("neighbour", Log::Local, &[]).await;
    w.both("create table t (id int primary key)").await;
    w.connector("[[table]]\nsource = 'public.t'");
    let _d = Daemon::run(&w);
    w.settle().await;
    let neighbour = w.source_cluster.as_ref().unwrap().db("neighbour").await;
    neighbour.batch("create table noise as select g, repeat('n', 200) from generate_series(1, 100000) g").await;
    let end = w.source.text("select pg_current_wal_insert_lsn()").await;
    eventually("the slot has moved past the neighbour's changes", PATIENCE, async || {
        w.source
            .text(&format!(
                "select confirmed_flush_lsn >= '{end}' from pg_replication_slots where slot_name = '{}'",
                w.object_name()
            ))
            .await
            == "t"
    })
    .await;
}

/// What we write carries our replication origin, in every life, and `drop` takes it away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_tell_whose_they_are() {
    let w = World::own_target("origin", Log::Local, &[]).await;
    w.both("create table t (id int primary key)").await;
    w.connector("[[table]]\nsource = 'public.t'");
    let others = "select count(*) from pg_logical_slot_get_changes('others', null, null, 'only-local', 'on') where data like 'table public.t:%'";
    let d = Daemon::run(&w);
    w.settle().await;
    w.target.batch("select pg_create_logical_replication_slot('others', 'test_decoding')").await;
    w.source.batch("insert into t values (1)").await;
    w.settle().await;
    d.kill9();
    let mut d = Daemon::run(&w);
    w.source.batch("insert into t values (2)").await;
    w.settle().await;
    w.target.batch("insert into t values (100)").await;
    assert_eq!(w.target.text(others).await, "1", "only the row that we did not write");
    let origins = "select string_agg(roname, ',') from pg_replication_origin";
    assert_eq!(w.target.text(origins).await, w.object_name());
    d.term();
    assert_eq!(d.exit().await, 0);
    let out = w.cli("drop", &["--yes"]).await.assert_code(0);
    assert!(out.stdout.contains("replication origin"), "{out:#?}");
    assert_eq!(w.target.text(origins).await, "<null>");
}
