//! Partitions that are done something to as a whole, of which the stream of their root has no trace.

use crate::both_logs;
use crate::support::{Daemon, PATIENCE, World, eventually};

const TREE: &str = "create table t (id int primary key, v text) partition by range (id);
     create table t_1 partition of t for values from (0) to (1000); create table t_2 partition of t for values from (1000) to (2000)";

async fn follows(w: &World) {
    eventually("it follows", PATIENCE, async || w.table("public.t").await["state"] == "follow").await;
}

// What the stream still has to bring of a partition that went is older than its end.
both_logs!(it_goes_before_its_rows_come, |w| {
    w.both(TREE).await;
    w.source.batch("insert into t select g, 'v' from generate_series(900, 1100) g").await;
    w.connector("[[table]]\nsource = 'public.t'");
    let d = Daemon::run(&w);
    w.settle().await;
    d.kill9();
    w.source.batch("insert into t select g, 'late' from generate_series(1, 500) g").await;
    w.source.batch("drop table t_1").await;
    w.source.batch("insert into t select g, 'later' from generate_series(1101, 1200) g").await;
    let d = Daemon::run(&w);
    w.settle().await;
    w.equal("table t").await;
    // another in its place, which lived for a while without us, and dies of a SIGKILL of ours in between
    d.kill9();
    w.source
        .batch("create table t_3 (like t including all); insert into t_3 select g, 'alone' from generate_series(1, 800) g")
        .await;
    w.source.batch("alter table t attach partition t_3 for values from (0) to (1000)").await;
    for _ in 0..4 {
        let d = Daemon::run(&w);
        w.source.batch("update t set v = v || '.' where id % 50 = 0").await;
        eventually("it runs", PATIENCE, async || w.status().await["running"] == true).await;
        d.kill9();
    }
    let _d = Daemon::run(&w);
    w.settle().await;
    w.equal("table t").await;
});

// Its changes are in no WAL: the table halts, and the partition is read once they are.
both_logs!(an_unlogged_partition_comes, |w| {
    w.both(TREE).await;
    w.target.batch("create table t_3 partition of t default").await;
    w.source.batch("insert into t select g, 'v' from generate_series(900, 1100) g").await;
    w.connector("[[table]]\nsource = 'public.t'");
    w.expect_log("is unlogged");
    let d = Daemon::run(&w);
    w.settle().await;
    w.source.batch("create unlogged table t_3 partition of t for values from (2000) to (3000)").await;
    eventually("it halts", PATIENCE, async || w.table("public.t").await["state"] == "halted").await;
    let table = w.table("public.t").await;
    assert!(table["halted_because"].as_str().unwrap().contains("is unlogged"), "{table}");
    assert!(table["hint"].as_str().unwrap().contains("ALTER TABLE \"public\".\"t_3\" SET LOGGED"), "{table}");
    w.source
        .batch("insert into t select g, 'nowhere' from generate_series(2000, 2100) g; update t set v = 'w' where id < 1000")
        .await;
    w.source.batch("alter table t_3 set logged").await;
    d.hup();
    follows(&w).await;
    w.settle().await;
    w.equal("table t").await;
});

// Two targets of one table, one of which is copied again when the other's partitions are.
both_logs!(one_table_in_two, |w| {
    w.both(TREE).await;
    w.target.batch("create table t_3 partition of t default; create table other (id int primary key, v text)").await;
    w.source.batch("insert into t select g, 'v' from generate_series(900, 1100) g").await;
    w.connector("[[table]]\nsource = 'public.t'\n[[table]]\nsource = 'public.t'\ntarget = 'public.other'");
    let d = Daemon::run(&w);
    w.settle().await;
    d.kill9();
    w.source.batch("truncate t_1; insert into t select g, 'anew' from generate_series(1, 50) g").await;
    w.target.batch("delete from other where id > 1050").await;
    w.cli("resync", &["--table", "public.other"]).await.assert_code(0);
    let _d = Daemon::run(&w);
    w.settle().await;
    w.equal("table t").await;
    w.equal_as("table t", "table other").await;
});
