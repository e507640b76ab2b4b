//! A table changes its columns while nobody follows: what was committed before is read as it was then.

use crate::both_logs;
use crate::support::{Daemon, PATIENCE, World, eventually};

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

/// Apply may start before capture has told it of the new shape, and stand still until then.
async fn goes_on(w: &World) {
    eventually("it goes on", PATIENCE, async || w.cli("wait", &["--timeout", "5s"]).await.code == 0).await;
}

both_logs!(a_column_comes, |w| {
    let change = "alter table t add n int, add e text";
    let _d = while_away(&w, change, "insert into t values (100, 'after', 1, 7); update t set n = 1 where id % 10 = 0").await;
    goes_on(&w).await;
    w.equal("table t").await;
});

both_logs!(a_column_goes, |w| {
    w.expect_log("halt");
    let _d =
        while_away(&w, "alter table t drop gone", "insert into t values (100, 'after'); update t set v = 'w' where id % 10 = 0")
            .await;
    goes_on(&w).await;
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
    goes_on(&w).await;
    w.equal("table t").await;
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
        goes_on(&w).await;
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
    goes_on(&w).await;
    w.equal("select id, v, n from t").await;
});
