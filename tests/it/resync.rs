//! Rows are read again while the daemon runs: what somebody changed behind our back is as it should be, and nothing else is touched.

use crate::both_logs;
use crate::support::{Daemon, Load, Log, PATIENCE, World, eventually};

const ROWS: &str = "insert into t select g, 'v' || g, g % 7 from generate_series(1, 3000) g";

/// A table `t` that follows.
async fn following(w: &World) -> Daemon {
    w.both("create table t (id int primary key, v text, n int)").await;
    w.source.batch(ROWS).await;
    w.connector("[[table]]\nsource = 'public.t'");
    let d = Daemon::run(w);
    w.settle().await;
    d
}

both_logs!(single_keys, |w| {
    let _d = following(&w).await;
    w.target
        .batch("update t set v = 'theirs' where id in (7, 8); delete from t where id = 9; insert into t values (-5, 'extra', 0)")
        .await;
    w.cli("resync", &["--table", "t", "--key", "7", "--key", "9", "--key", "-5"]).await.assert_code(0);
    w.settle().await;
    assert_eq!(w.target.text("select id from t where v = 'theirs'").await, "8", "what was not asked for stays");
    w.target.batch("update t set v = 'v8' where id = 8").await;
    w.equal("table t").await;
});

both_logs!(a_range, |w| {
    let _d = following(&w).await;
    w.target
        .batch("update t set v = 'theirs' where id between 100 and 120; delete from t where id between 2990 and 2995; insert into t values (4000, 'x', 0)")
        .await;
    w.cli("resync", &["--table", "public.t", "--range", "100..120", "--range", "2990.."]).await.assert_code(0);
    w.settle().await;
    w.equal("table t").await;
});

both_logs!(a_whole_table_in_use, |w| {
    Load::prepare(&w).await;
    w.both("create table t (id int primary key, v text, n int)").await;
    w.source.batch(ROWS).await;
    w.connector(&format!("[[table]]\nsource = 'public.t'\n{}", Load::tables()));
    let _d = Daemon::run(&w);
    w.settle().await;
    let load = Load::start(&w, 2);
    w.target
        .batch("set session_replication_role = replica; update t set v = null where id % 3 = 0; delete from t where id % 5 = 0; insert into t select g, 'extra', 0 from generate_series(5000, 7500) g")
        .await;
    w.target.batch("set session_replication_role = replica; delete from load_rows where id % 2 = 0").await;
    w.cli("resync", &["--table", "t"]).await.assert_code(0);
    w.cli("resync", &["--table", "load_rows"]).await.assert_code(0);
    w.source.batch("update t set v = 'new' where id < 100; delete from t where id = 500").await;
    load.stop().await;
    w.settle().await;
    w.equal("table t").await;
    Load::equal(&w).await;
});

both_logs!(composite_keys, |w| {
    w.both("create table t (a text, b date, v text, primary key (a, b))").await;
    w.source.batch("insert into t select 'k,' || g, '2026-01-01'::date + g, 'v' from generate_series(1, 50) g").await;
    w.connector("[[table]]\nsource = 'public.t'");
    let _d = Daemon::run(&w);
    w.settle().await;
    w.target.batch("update t set v = 'theirs' where a = 'k,7'").await;
    let wrong = w.cli("resync", &["--table", "t", "--key", "k,7,2026-01-08"]).await.assert_code(2);
    assert!(wrong.stderr.contains("--key A,B, where A,B is of type text,date"), "{wrong:?}");
    w.cli("resync", &["--table", "t", "--key", "\"k,7\",2026-01-08"]).await.assert_code(0);
    w.settle().await;
    w.equal("table t").await;
});

/// What cannot be read is refused with the right form, and nothing is asked for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_keys_ranges_and_tables() {
    let w = World::new("resync-wrong").await;
    w.both("create table t (id int primary key, v text); create table k (v text); alter table k replica identity full").await;
    w.connector("[[table]]\nsource = 'public.t'\n[[table]]\nsource = 'public.k'");
    let never = w.cli("resync", &["--table", "t"]).await.assert_code(1);
    assert!(never.stderr.contains("was never started"), "{never:?}");
    let _d = Daemon::run(&w);
    w.settle().await;
    for (options, says) in [
        (&["--table", "t", "--key", "seven"][..], "where ID is of type integer"),
        (&["--table", "t", "--range", "7"], "--range ID..ID"),
        (&["--table", "t", "--range", "1,2..3"], "`1,2..3` does not read as the key"),
        (&["--table", "t", "--range", "9..1"], "`9..1` ends before it begins"),
        (&["--table", "other"], "no entry of the connector file is about `public.other`"),
        (&["--table", "public.*"], "is a pattern"),
        (&["--table", "k", "--key", "x"], "has no key"),
    ] {
        let out = w.cli("resync", options).await.assert_code(2);
        assert!(out.stderr.contains(says), "{options:?}: {out:?}");
    }
    assert_eq!(w.target.text("select count(*) from tablelift.reread").await, "0");
}

// A copy that is paused goes on where it was; one that is repeated can be given up.
both_logs!(pause_resume_cancel, |w| {
    w.both("create table t (id int primary key, v text, n int)").await;
    w.source.batch("insert into t select g, repeat('v', 500), 0 from generate_series(1, 20000) g").await;
    w.connector("[copy]\nmax_rows_per_second = 4000\n[[table]]\nsource = 'public.t'");
    w.cli("prepare", &[]).await.assert_code(0);
    let _d = Daemon::run(&w);
    let copied = async || w.target.text("select coalesce(sum(rows), 0) from tablelift.copy_range").await.parse::<i64>().unwrap();
    eventually("it copies", PATIENCE, async || copied().await > 0).await;
    w.cli("copy", &["pause"]).await.assert_code(0);
    // a chunk that is under way ends
    eventually("it stands still", PATIENCE, async || {
        let before = copied().await;
        tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
        copied().await == before
    })
    .await;
    w.source.batch("insert into t values (0, 'new', 0)").await;
    eventually("changes go on", PATIENCE, async || w.target.text("select v from t where id = 0").await == "new").await;
    let wrong = w.cli("copy", &["halt"]).await.assert_code(2);
    assert!(wrong.stderr.contains("pause, resume or cancel"), "{wrong:?}");
    w.cli("copy", &["resume"]).await.assert_code(0);
    w.settle().await;
    w.equal("table t").await;
    w.cli("resync", &["--table", "t"]).await.assert_code(0);
    let again = w.cli("resync", &["--table", "t"]).await.assert_code(2);
    assert!(again.stderr.contains("is being copied already"), "{again:?}");
    let out = w.cli("copy", &["cancel"]).await.assert_code(0);
    assert!(out.stdout.contains("public.t: its copy is cancelled"), "{out:?}");
    w.settle().await;
    w.equal("table t").await;
});

// The stream and the copy of one table are both refused: both go on.
both_logs!(halted_while_it_is_copied, |w| {
    w.both("create table t (id int primary key, v text)").await;
    w.source.batch("insert into t select g, 'v' from generate_series(1, 500) g").await;
    w.connector("[[table]]\nsource = 'public.t'");
    w.expect_log("halted");
    let d = Daemon::run(&w);
    w.settle().await;
    w.cli("copy", &["pause"]).await.assert_code(0);
    w.cli("resync", &["--table", "t"]).await.assert_code(0);
    eventually("it is to be copied", PATIENCE, async || w.table("public.t").await["state"] == "copy").await;
    w.target.batch("alter table t add constraint c check (false) not valid").await;
    w.source.batch("insert into t values (1001, 'refused')").await;
    eventually("the stream is halted", PATIENCE, async || d.log().contains("table halted")).await;
    w.cli("copy", &["resume"]).await.assert_code(0);
    if w.log == Log::Kafka {
        // its rows are in the topic, behind what is refused
        eventually("its rows are read", PATIENCE, async || d.log().matches(" copied ").count() > 1).await;
    }
    assert_eq!(w.table("public.t").await["state"], "halted");
    w.target.batch("alter table t drop constraint c").await;
    w.settle_at_last().await;
    w.equal("table t").await;
});
