//! The copy in chunks, while its table is in use: what its snapshots may see, where rows go meanwhile, and what a crash leaves.

use crate::both_logs;
use crate::halt::{arrives, halted};
use crate::support::{Daemon, Log, PATIENCE, World, eventually, steadily};
use serde_json::Value;
use std::time::{Duration, Instant};

/// Four rows to a block, so that a small table has many chunks; every third row has a large value that an update leaves alone.
pub const DDL: &str = "create table t (id int primary key, u int, n int not null default 0, pad text, large text);
    alter table t alter pad set storage plain, alter large set storage external";

/// Rows `from` to `to`.
pub fn fill(from: u32, to: u32) -> String {
    format!(
        "insert into t select g, g, 0, repeat('p', 1900), case when g % 3 = 0 then repeat(md5(g::text), 130) end
         from generate_series({from}, {to}) g"
    )
}

/// A connector that copies so many rows a second; the first chunk of a table is free.
pub fn slowly(w: &World, rows: u32, tables: &str) {
    w.connector(&format!("[copy]\nmax_rows_per_second = {rows}\n{tables}"));
}

/// Rows of a table's copy that are recorded, as long as it is under way.
pub async fn recorded(w: &World, table: &str) -> i64 {
    let sql = format!("select coalesce(sum(rows), 0) from tablelift.copy_range where target_name = '{table}'");
    w.target.try_text(&sql).await.ok().and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// Waits until a part of the table is copied.
pub async fn under_way(w: &World, table: &str) {
    eventually("a part of the table is copied", PATIENCE, async || recorded(w, table).await > 0).await;
}

/// A test that attacks a copy is only one as long as it is under way.
pub async fn is_still_copied(w: &World, table: &str) {
    let sql = format!("select state from tablelift.table_state where target_name = '{table}'");
    assert_eq!(w.target.text(&sql).await, "copy", "the copy was over too early for this test");
}

/// Everything has arrived, and nothing is left to be read again.
pub async fn arrived(w: &World, tables: &[&str]) {
    w.settle().await;
    for table in tables {
        w.equal(&format!("select * from {table}")).await;
    }
    assert_eq!(w.target.text("select count(*) from tablelift.reread").await, "0");
}

/// What the status says that a table waits for.
pub async fn waits_for(w: &World, table: &str, what: &str) {
    eventually(&format!("`{table}` waits for: {what}"), PATIENCE, async || {
        w.table(table).await["waiting_for"].as_str().is_some_and(|text| text.contains(what))
    })
    .await;
}

// Between what was read and what was not there is no wall: an update moves its row into free space of a block that was read long ago.
both_logs!(rows_move_to_blocks_that_were_read, |w| {
    w.both(DDL).await;
    w.source.batch(&fill(1, 12_000)).await;
    w.source.each(&["delete from t where id <= 900", "vacuum t"]).await;
    slowly(&w, 100, "[[table]]\nsource = 'public.t'");
    let d = Daemon::run(&w);
    under_way(&w, "t").await;
    w.source.batch("update t set n = n + 1 where id between 11001 and 11600").await;
    let moved = w.source.number("select count(*) from t where ctid < '(200,0)' and id > 11000").await;
    assert!(moved > 100, "only {moved} rows moved");
    is_still_copied(&w, "t").await;
    slowly(&w, 100_000, "[[table]]\nsource = 'public.t'");
    d.hup();
    arrived(&w, &["t"]).await;
});

/// Values of a secondary unique key go round among copied rows, and between those and others.
async fn unique_values_change_hands(w: World, statements: &[&str]) {
    w.both(DDL).await;
    w.source.batch("alter table t add unique (u) deferrable initially deferred").await;
    w.target.batch("alter table t add unique (u)").await;
    w.source.batch(&fill(1, 8000)).await;
    slowly(&w, 100, "[[table]]\nsource = 'public.t'");
    let d = Daemon::run(&w);
    under_way(&w, "t").await;
    w.source.each(statements).await;
    is_still_copied(&w, "t").await;
    slowly(&w, 100_000, "[[table]]\nsource = 'public.t'");
    d.hup();
    arrived(&w, &["t"]).await;
}

both_logs!(unique_values_go_round, |w| { unique_values_change_hands(w, &["update t set u = 1001 - u where u <= 1000"]).await });

both_logs!(unique_values_cross, |w| {
    unique_values_change_hands(w, &["update t set u = 8001 - u where id % 10 = 1 or id % 10 = 0"]).await;
});

both_logs!(unique_values_are_handed_on, |w| {
    let statements = [
        "update t set u = null where id % 100 = 5",
        "update t a set u = 8001 - a.id where id > 4000 and (8001 - a.id) % 100 = 5",
        "delete from t where id % 100 = 7",
        "update t a set u = 8001 - a.id where id > 4000 and (8001 - a.id) % 100 = 7",
    ];
    unique_values_change_hands(w, &statements).await;
});

/// A source whose commits can be made to hang: in the WAL, and so in the stream, and not yet visible.
async fn with_a_standby_away(name: &str, log: Log) -> World {
    let w = World::own_source(name, log, &[]).await;
    w.both(DDL).await;
    w.source.batch(&fill(1, 8000)).await;
    w
}

async fn standby_leaves(w: &World) {
    w.source_cluster.as_ref().unwrap().set(&["synchronous_standby_names = 'nobody'"]).await;
    eventually("the server knows", PATIENCE, async || w.source.text("show synchronous_standby_names").await == "nobody").await;
}

async fn standby_is_given_up(w: &World) {
    w.source_cluster.as_ref().unwrap().set(&["synchronous_standby_names = ''"]).await;
}

/// Commits that hang until the standby is back.
async fn commits_hang(w: &World, statements: &[&str]) {
    for sql in statements {
        let (session, sql) = (w.source.session().await, (*sql).to_owned());
        tokio::spawn(async move { session.batch_execute(&sql).await });
    }
    eventually("the commits hang", PATIENCE, async || {
        w.source.number("select count(*) from pg_stat_activity where wait_event = 'SyncRep' and query ~ 'n = '").await
            == i64::try_from(statements.len()).unwrap()
    })
    .await;
}

const LATE: &[&str] = &[
    "update t set n = 1 where id % 10 = 3",
    "delete from t where id % 10 = 5 and n = 0",
    "update t set id = id + 100000, n = 2 where id % 10 = 7",
];

/// The stream brings a commit in the middle of a copy, and it becomes visible much later.
async fn a_commit_hangs_during_the_copy(name: &str, log: Log, killed: bool) {
    let w = with_a_standby_away(name, log).await;
    for text in ["again", "slot"] {
        w.expect_log(text);
    }
    slowly(&w, 1500, "[[table]]\nsource = 'public.t'");
    let d = Daemon::run(&w);
    under_way(&w, "t").await;
    standby_leaves(&w).await;
    commits_hang(&w, LATE).await;
    is_still_copied(&w, "t").await;
    waits_for(&w, "public.t", "to become visible").await;
    waits_for(&w, "public.t", "waits for a synchronous standby").await;
    let d = if killed {
        let applied = "select count(*) from t where n = 1";
        eventually("the stream goes on", PATIENCE, async || w.target.number(applied).await > 0).await;
        d.kill9();
        let d = Daemon::run(&w);
        waits_for(&w, "public.t", "to become visible").await;
        d
    } else {
        d
    };
    let before = recorded(&w, "t").await;
    steadily("no chunk is read", Duration::from_secs(1), async || recorded(&w, "t").await == before).await;
    standby_is_given_up(&w).await;
    arrived(&w, &["t"]).await;
    drop(d);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_hangs_during_the_copy_local() {
    a_commit_hangs_during_the_copy("late-l", Log::Local, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_hangs_during_the_copy_kafka() {
    a_commit_hangs_during_the_copy("late-k", Log::Kafka, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_hangs_and_we_die_local() {
    a_commit_hangs_during_the_copy("late-dl", Log::Local, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_hangs_and_we_die_kafka() {
    a_commit_hangs_during_the_copy("late-dk", Log::Kafka, true).await;
}

/// What has a transaction open when a copy begins: a session, and nobody.
async fn open_at_the_start(name: &str, log: Log) {
    let w = with_a_standby_away(name, log).await;
    w.connector("[[table]]\nsource = 'public.t'");
    w.cli("prepare", &[]).await.assert_code(0);
    let session = w.source.session().await;
    session.batch_execute("begin; update t set n = 1 where id % 10 = 3").await.unwrap();
    w.source.batch("begin; update t set n = 2 where id % 10 = 4; prepare transaction 'forgotten'").await;
    let d = Daemon::run(&w);
    waits_for(&w, "public.t", "to become visible").await;
    w.source.batch("update t set n = 3 where id % 10 = 6").await;
    session.batch_execute("commit").await.unwrap();
    waits_for(&w, "public.t", "the prepared transaction `forgotten`").await;
    w.source.batch("commit prepared 'forgotten'").await;
    arrived(&w, &["t"]).await;
    drop(d);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn open_at_the_start_local() {
    open_at_the_start("open-l", Log::Local).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn open_at_the_start_kafka() {
    open_at_the_start("open-k", Log::Kafka).await;
}

// A copy goes on where it was: at most what was being read is read again.
both_logs!(killed_half_way, |w| {
    w.both(DDL).await;
    w.source.batch(&fill(1, 20_000)).await;
    for text in ["again", "slot"] {
        w.expect_log(text);
    }
    slowly(&w, 2000, "[[table]]\nsource = 'public.t'");
    let d = Daemon::run(&w);
    eventually("some of it is copied", PATIENCE, async || recorded(&w, "t").await > 2000).await;
    eventually("how long the rest takes is told", PATIENCE, async || w.status().await["eta"]["copy_s"].is_u64()).await;
    let seen = w.status().await;
    let copy = &seen["tables"][0]["copy"];
    let percent = copy["percent"].as_f64().unwrap();
    assert!((10.0..100.0).contains(&percent) && copy["rows_per_s"].is_f64() && copy["eta_s"].is_u64(), "{seen:#}");
    assert!(seen["eta"]["copy_s"].as_u64().is_some_and(|seconds| seconds <= 15), "{seen:#}");
    assert_eq!((&seen["copies"]["tables"], &seen["copies"]["paused"]), (&1.into(), &false.into()), "{seen:#}");
    let ratio = format!("tablelift_copy_ratio{{connector=\"{}\",table=\"public.t\"}} 0.", w.name);
    let told = async || w.get("/metrics").await.unwrap().1;
    eventually("the metrics tell it too", PATIENCE, async || told().await.contains(&ratio)).await;
    assert!(told().await.contains("tablelift_copy_eta_seconds{"));
    d.kill9();
    let before = recorded(&w, "t").await;
    let status = w.status().await;
    let away = &status["tables"][0];
    assert_eq!((away["rows_copied"].as_i64(), away["state"].as_str()), (Some(before), Some("copy")), "{away}");
    // what is recorded tells how far it is, but nobody copies
    assert!(away["copy"]["percent"].as_f64().is_some_and(|now| (percent..100.0).contains(&now)), "{away}");
    assert_eq!((&status["eta"]["copy_s"], &status["copies"]["percent"]), (&Value::Null, &away["copy"]["percent"]), "{status:#}");
    let text = w.cli("status", &[]).await.assert_code(0).stdout;
    assert!(text.contains("  copy ") && text.contains(" %, ") && text.lines().all(|line| line.chars().count() <= 80), "{text}");
    slowly(&w, 100, "[[table]]\nsource = 'public.t'");
    let d = Daemon::run(&w);
    eventually("it goes on", PATIENCE, async || recorded(&w, "t").await > before).await;
    eventually("the daemon answers", PATIENCE, async || w.get("/status").await.is_some()).await;
    let now = w.table("public.t").await["rows_copied"].as_i64().unwrap();
    assert!(now >= before, "{before} rows were copied before it was killed, and the status tells of {now}");
    slowly(&w, 100_000, "[[table]]\nsource = 'public.t'");
    d.hup();
    arrived(&w, &["t"]).await;
    let copied = w.target.number("select rows_copied from tablelift.table_state").await;
    assert!((20_000..=20_000 + 5000).contains(&copied), "{copied} rows of 20000 were copied");
});

// `[copy]` is taken from the file again while a copy runs.
both_logs!(a_reload_changes_the_speed, |w| {
    w.both(DDL).await;
    w.source.batch(&fill(1, 8000)).await;
    slowly(&w, 10, "[[table]]\nsource = 'public.t'");
    let d = Daemon::run(&w);
    under_way(&w, "t").await;
    // each worker has a first chunk before it is slow
    eventually("it is slow", PATIENCE, async || {
        let before = recorded(&w, "t").await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        recorded(&w, "t").await == before
    })
    .await;
    is_still_copied(&w, "t").await;
    slowly(&w, 1_000_000, "[[table]]\nsource = 'public.t'");
    d.hup();
    // 8000 rows would take minutes
    arrived(&w, &["t"]).await;
});

// A chunk that the target refuses halts its table only; once that is cured it goes on where it was.
both_logs!(a_chunk_is_refused, |w| {
    w.both(&format!("{DDL}; create table other (id int primary key)")).await;
    w.target.batch("alter table t add constraint few check (id < 5000)").await;
    w.source.batch(&fill(1, 8000)).await;
    w.expect_log("halt");
    slowly(&w, 3000, "[[table]]\nsource = 'public.t'\n[[table]]\nsource = 'public.other'");
    let d = Daemon::run(&w);
    halted(&w, "public.t").await;
    w.source.batch("insert into other values (1); update t set n = 1 where id % 9 = 1").await;
    arrives(&w, "other").await;
    w.target.batch("alter table t drop constraint few").await;
    d.hup();
    eventually("it goes on", PATIENCE, async || w.cli("wait", &["--timeout", "1s"]).await.code == 0).await;
    arrived(&w, &["t", "other"]).await;
    assert_eq!(w.table("public.t").await["state"], "follow");
});

/// Somebody has locked the source's table: the copy says so and waits, and the stream of the others does not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_source_table_is_locked() {
    let w = World::own_source("locked", Log::Local, &[]).await;
    w.both(&format!("{DDL}; create table other (id int primary key)")).await;
    w.source.batch(&fill(1, 8000)).await;
    for text in ["lock", "again"] {
        w.expect_log(text);
    }
    slowly(&w, 3000, "[[table]]\nsource = 'public.t'\n[[table]]\nsource = 'public.other'");
    let _d = Daemon::run(&w);
    under_way(&w, "t").await;
    let session = w.source.session().await;
    session.batch_execute("begin; lock table t in access exclusive mode").await.unwrap();
    let pid: i32 = session.query_one("select pg_backend_pid()", &[]).await.unwrap().get(0);
    waits_for(&w, "public.t", &format!("pid {pid}")).await;
    for n in 0..10 {
        let start = Instant::now();
        w.source.batch(&format!("insert into other values ({n})")).await;
        eventually("the stream goes on", PATIENCE, async || w.target.number("select count(*) from other").await == n + 1).await;
        assert!(start.elapsed() < Duration::from_secs(1), "the stream stood still for {:?}", start.elapsed());
    }
    session.batch_execute("commit").await.unwrap();
    arrived(&w, &["t", "other"]).await;
}

/// Somebody makes an index on the target's table: the copy says so and waits, and the stream of the others goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_target_table_is_locked() {
    let w = World::own_target("held", Log::Local, &[]).await;
    w.both(&format!("{DDL}; create table other (id int primary key)")).await;
    w.source.batch(&fill(1, 8000)).await;
    for text in ["lock", "again"] {
        w.expect_log(text);
    }
    slowly(&w, 3000, "[[table]]\nsource = 'public.t'\n[[table]]\nsource = 'public.other'");
    let _d = Daemon::run(&w);
    under_way(&w, "t").await;
    let session = w.target.session().await;
    session.batch_execute("begin; lock table t in share mode").await.unwrap();
    let pid: i32 = session.query_one("select pg_backend_pid()", &[]).await.unwrap().get(0);
    waits_for(&w, "public.t", &format!("pid {pid}")).await;
    let mut worst = Duration::ZERO;
    for n in 0..20 {
        let start = Instant::now();
        w.source.batch(&format!("insert into other values ({n})")).await;
        eventually("the stream goes on", PATIENCE, async || w.target.number("select count(*) from other").await == n + 1).await;
        worst = worst.max(start.elapsed());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    session.batch_execute("commit").await.unwrap();
    arrived(&w, &["t", "other"]).await;
    assert!(worst < Duration::from_secs(1), "the stream stood still for {worst:?}");
}

// A table that is dropped in the middle of its copy is not one that was copied.
both_logs!(a_table_is_dropped, |w| {
    w.both(&format!("{DDL}; create table other (id int primary key)")).await;
    w.source.batch(&fill(1, 8000)).await;
    for text in ["halt", "again", "fit", "publication", "exist"] {
        w.expect_log(text);
    }
    slowly(&w, 100, "[[table]]\nsource = 'public.t'\n[[table]]\nsource = 'public.other'");
    let _d = Daemon::run(&w);
    under_way(&w, "t").await;
    w.source.batch("drop table t; insert into other values (1)").await;
    arrives(&w, "other").await;
    halted(&w, "public.t").await;
    let state = "select state from tablelift.table_state where target_name = 't'";
    assert_eq!(w.target.text(state).await, "copy");
});

/// A row that is to be read again while a commit is not visible: the status tells what it waits for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reread_waits_for_a_commit() {
    let w = with_a_standby_away("late-row", Log::Local).await;
    w.connector("[[table]]\nsource = 'public.t'");
    let _d = Daemon::run(&w);
    w.settle().await;
    w.target.batch("delete from t where id in (3, 6)").await;
    standby_leaves(&w).await;
    commits_hang(&w, &["update t set n = 1 where id = 3"]).await;
    eventually("it is asked for", PATIENCE, async || w.target.number("select count(*) from tablelift.reread").await == 1).await;
    waits_for(&w, "public.t", "to become visible").await;
    standby_is_given_up(&w).await;
    w.source.batch("update t set n = 2 where id = 6").await;
    arrived(&w, &["t"]).await;
    assert!(w.table("public.t").await["waiting_for"].is_null());
}
