//! A table changes its columns while nobody follows: what was committed before is read as it was then.

use crate::both_logs;
use crate::support::{Daemon, PATIENCE, World, eventually};

/// `t` is copied, and followed; the entry says `more`.
async fn followed(w: &World, more: &str) -> Daemon {
    w.both("create table t (id int primary key, v text)").await;
    w.source.batch("insert into t select g, 'copied' from generate_series(1, 50) g").await;
    w.connector(&format!("[[table]]\nsource = 'public.t'\n{more}"));
    let d = Daemon::run(w);
    w.settle().await;
    d
}

/// `t` is copied, the daemon goes, rows are written before and after the change of both sides, and it comes back.
async fn while_away(w: &World, change: &str, after: &str) -> Daemon {
    w.both("create table t (id int primary key, v text, gone int)").await;
    w.source.batch("insert into t select g, 'copied', g from generate_series(1, 50) g").await;
    w.connector("[[table]]\nsource = 'public.t'");
    let d = Daemon::run(w);
    w.settle().await;
    d.kill9();
    w.source.batch("insert into t select g, 'before', g from generate_series(51, 99) g; update t set gone = -1 where id < 20; delete from t where id = 7").await;
    w.both(change).await;
    w.source.batch(after).await;
    Daemon::run(w)
}

both_logs!(a_column_comes, |w| {
    let change = "alter table t add n int, add e text";
    let _d = while_away(&w, change, "insert into t values (100, 'after', 1, 7); update t set n = 1 where id % 10 = 0").await;
    w.settle_at_last().await;
    w.equal("table t").await;
});

both_logs!(a_column_goes, |w| {
    w.expect_log("halt");
    let _d =
        while_away(&w, "alter table t drop gone", "insert into t values (100, 'after'); update t set v = 'w' where id % 10 = 0")
            .await;
    w.settle_at_last().await;
    w.equal("table t").await;
});

both_logs!(a_column_gets_another_name, |w| {
    let change = "alter table t rename v to name; alter table t add v text; alter table t drop gone";
    w.expect_log("halt");
    let d = while_away(&w, change, "insert into t values (100, 'after', 'v')").await;
    // `v` is another column now
    d.logged("column `v` of the source is another one").await;
    drop(d);
    w.source.batch("alter table t drop v").await;
    w.target.batch("alter table t drop v").await;
    w.source.batch("update t set name = 'w' where id % 10 = 0").await;
    let _d = Daemon::run(&w);
    w.settle_at_last().await;
    w.equal("table t").await;
});

// What `status` says is pasted, and that is all.
both_logs!(a_column_that_is_renamed_says_so, |w| {
    w.both("create table t (id int primary key, v text)").await;
    w.source.batch("insert into t values (1, 'a')").await;
    w.connector("[[table]]\nsource = 'public.t'");
    w.expect_log("halt");
    let d = Daemon::run(&w);
    w.settle().await;
    w.source.batch("alter table t rename v to name; insert into t values (2, 'b')").await;
    let hint = async || w.table("public.t").await["hint"].as_str().unwrap_or_default().to_owned();
    eventually("it says how", PATIENCE, async || hint().await.contains("ALTER TABLE")).await;
    let hint = hint().await;
    let from = hint.find("ALTER TABLE").unwrap();
    let end = "TO \"name\"";
    w.target.batch(&hint[from..hint.find(end).unwrap() + end.len()]).await;
    d.hup();
    w.settle_at_last().await;
    w.equal("select id, name from t").await;
});

// Rows lack the values that were there at once: nothing is guessed.
both_logs!(a_column_comes_with_a_default, |w| {
    w.expect_log("halt");
    let d = while_away(&w, "alter table t add n int default 5", "insert into t values (100, 'after', 1, 7)").await;
    d.logged("column `n` of the target was not filled when the table was copied").await;
    eventually("it is halted", PATIENCE, async || w.table("public.t").await["state"] == "halted").await;
});

// Changes again and again: one comes, one gets another name, one goes, and the rows between them have each of these shapes.
both_logs!(columns_come_and_go, |w| {
    w.expect_log("halt");
    w.both("create table t (id int primary key, v text)").await;
    w.connector("[[table]]\nsource = 'public.t'");
    let mut d = Daemon::run(&w);
    w.settle().await;
    for round in 0..5 {
        d.kill9();
        let write = async |part: i32| {
            let from = round * 100 + part * 10;
            w.source.batch(&format!("insert into t (id, v) select g, 'r' from generate_series({from}, {from} + 9) g; update t set v = v || '.' where id % 3 = {part} % 3")).await;
        };
        write(0).await;
        w.both(&format!("alter table t add c{round} int")).await;
        w.source.batch(&format!("update t set c{round} = {round} where id % 5 = 0")).await;
        write(1).await;
        if round > 0 {
            w.both(&format!("alter table t rename c{0} to d{0}", round - 1)).await;
            w.source.batch(&format!("update t set d{} = -1 where id % 4 = 0", round - 1)).await;
        }
        write(2).await;
        if round > 1 {
            w.both(&format!("alter table t drop d{}", round - 2)).await;
        }
        write(3).await;
        d = Daemon::run(&w);
        w.settle_at_last().await;
    }
    w.equal("table t").await;
});

// What it held was never read: that it is NULL in the rows of before is not to be taken for granted.
both_logs!(an_ignored_column_is_wanted_after_all, |w| {
    w.source.batch("create table t (id int primary key, v text, x text); insert into t values (1, 'a', 'not NULL')").await;
    w.target.batch("create table t (id int primary key, v text)").await;
    w.connector("[[table]]\nsource = 'public.t'\nignore = ['x']");
    w.expect_log("halt");
    let d = Daemon::run(&w);
    w.settle().await;
    w.source.batch("insert into t values (2, 'b', 'nor this')").await;
    w.settle().await;
    w.target.batch("alter table t add x text").await;
    w.connector("[[table]]\nsource = 'public.t'");
    d.hup();
    d.logged("column `x` of the target was not filled when the table was copied").await;
});

// Columns that nobody uses come and go as they like, also where one that is used comes with them.
both_logs!(columns_that_are_ignored, |w| {
    w.source.batch("create table t (id int primary key, junk text, v text); insert into t values (1, 'j', 'a')").await;
    w.target.batch("create table t (id int primary key, v text)").await;
    w.connector("[[table]]\nsource = 'public.t'\nignore = ['junk', 'trash']");
    w.expect_log("halt");
    let d = Daemon::run(&w);
    w.settle().await;
    d.kill9();
    w.source.batch("insert into t values (2, 'j', 'b'); update t set junk = 'k'").await;
    w.source.batch("alter table t rename junk to trash; alter table t add n int").await;
    w.source.batch("insert into t values (3, 't', 'c', 3)").await;
    w.source.batch("alter table t drop trash").await;
    w.target.batch("alter table t add n int").await;
    w.source.batch("insert into t values (4, 'd', 4)").await;
    let _d = Daemon::run(&w);
    w.settle_at_last().await;
    w.equal("select id, v, n from t").await;
});

// A name that two columns had one after the other, and nobody looked between them.
both_logs!(one_came_and_went_unseen, |w| {
    w.expect_log("halt");
    let d = followed(&w, "").await;
    d.kill9();
    w.source.batch("alter table t add n text").await;
    w.source.batch("insert into t values (100, 'x', 'of the first'); update t set n = 'gone' where id = 3").await;
    w.source.batch("alter table t drop n; alter table t add n text").await;
    w.source.batch("insert into t values (101, 'x', 'of the second')").await;
    w.target.batch("alter table t add n text").await;
    let d = Daemon::run(&w);
    d.logged("column `n` of the source is another one").await;
});

// What was passed over is not in the target, whatever the catalog says of the rows of before.
both_logs!(what_was_passed_over_is_wanted, |w| {
    w.expect_log("halt");
    let d = followed(&w, "on_new_column = 'ignore'").await;
    w.source.batch("alter table t add n int").await;
    w.source.batch("update t set n = 5 where id < 10; insert into t values (100, 'x', 7)").await;
    w.settle().await;
    w.target.batch("alter table t add n int").await;
    d.hup();
    d.logged("column `n` of the target was not filled when the table was copied").await;
});

both_logs!(a_column_is_ignored_for_a_while, |w| {
    w.expect_log("halt");
    let d = followed(&w, "").await;
    w.connector("[[table]]\nsource = 'public.t'\nignore = ['v']");
    d.hup();
    d.logged("reloaded the connector file").await;
    w.source.batch("insert into t values (100, 'passed over')").await;
    w.settle_at_last().await;
    w.equal_as("select id from t", "select id from t").await;
    w.connector("[[table]]\nsource = 'public.t'");
    d.hup();
    d.logged("column `v` of the target was not filled when the table was copied").await;
});

// Another name for a while: it is the same table.
both_logs!(a_table_has_another_name_a_while, |w| {
    w.both("create table t (id int primary key, v text)").await;
    w.connector("[[table]]\nsource = 'public.t'");
    let d = Daemon::run(&w);
    w.settle().await;
    let moves = "alter table t rename to told; insert into told values (1, 'as told'); alter table told rename to t; insert into t values (2, 'as t')";
    w.source.batch(moves).await;
    w.settle().await;
    w.equal("table t").await;
    d.kill9();
    w.source.batch("alter table t rename to told").await;
    w.source.batch("insert into told values (3, 'as told'); update told set v = 'told' where id = 1").await;
    w.source.batch("alter table told rename to t").await;
    w.source.batch("delete from t where id = 2").await;
    let _d = Daemon::run(&w);
    w.settle().await;
    w.equal("table t").await;
});

// A partitioned table has no rows of its own that could have been given the default: its partitions have.
both_logs!(a_default_that_partitions_have_kept, |w| {
    w.expect_log("halt");
    w.source.batch("create table t (id int primary key, v text) partition by range (id); create table t1 partition of t for values from (0) to (1000)").await;
    w.target.batch("create table t (id int primary key, v text)").await;
    w.source.batch("insert into t select g, 'copied' from generate_series(1, 50) g").await;
    w.connector("[[table]]\nsource = 'public.t'");
    let d = Daemon::run(&w);
    w.settle().await;
    d.kill9();
    w.source.batch("alter table t add n int default 5").await;
    w.source.batch("alter table t alter n drop default").await;
    w.target.batch("alter table t add n int").await;
    let d = Daemon::run(&w);
    d.logged("column `n` of the target was not filled when the table was copied").await;
});
