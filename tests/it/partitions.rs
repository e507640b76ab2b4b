//! Partitions that are done something to as a whole, of which the stream of their root has no trace.

use crate::both_logs;
use crate::support::{Daemon, Log, PATIENCE, Side, World, eventually};

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

/// Both sides, and a table that the target refuses a row of: from now on no stream begins behind that (with Kafka they do).
async fn with_a_slot_that_stays(w: &World) -> Daemon {
    w.both(TREE).await;
    w.both("create table held (id int primary key)").await;
    w.target.batch("create table t_9 partition of t default; alter table held add check (id < 100)").await;
    w.source.batch("insert into t select g, 'v' from generate_series(900, 1100) g").await;
    w.connector("[[table]]\nsource = 'public.t'\n[[table]]\nsource = 'public.held'");
    w.expect_log("held");
    let d = Daemon::run(w);
    w.settle().await;
    w.source.batch("insert into held values (100)").await;
    eventually("it halts", PATIENCE, async || w.table("public.held").await["state"] == "halted").await;
    w.source.batch("update t set v = v || '.'").await;
    d
}

async fn equal_at_last(w: &World) {
    eventually("it is equal", PATIENCE, async || w.source.digest("table t").await == w.target.digest("table t").await).await;
}

// Up to 14 the stream takes it for what it was when its first change came, in each of its lives that begins before that.
both_logs!(a_table_comes_that_the_stream_has_met, |w| {
    let d = with_a_slot_that_stays(&w).await;
    w.source.batch("create table t_3 (like t including all)").await;
    w.source.batch("insert into t_3 select g, 'alone' from generate_series(2000, 2100) g").await;
    w.source.batch("create table t_4 (like t including all); insert into t_4 values (3000, 'v'); truncate t_4").await;
    w.source.batch("alter table t attach partition t_3 for values from (2000) to (3000)").await;
    w.source.batch("alter table t attach partition t_4 for values from (3000) to (4000)").await;
    w.source.batch("update t set v = 'attached' where id % 3 = 0").await;
    equal_at_last(&w).await;
    let change = "update t set v = v || '.' where id % 2 = 0; delete from t where id % 7 = 0; insert into t values (3001, 'w')";
    w.source.batch(change).await;
    equal_at_last(&w).await;
    d.kill9();
    w.source.batch("update t set v = v || '.'; insert into t values (3002, 'w')").await;
    let d = Daemon::run(&w);
    equal_at_last(&w).await;
    // one that is dealt with is, however often the stream tells of it
    w.source.batch("drop table t_3; insert into t values (1, 'v')").await;
    equal_at_last(&w).await;
    d.kill9();
    for _ in 0..2 {
        goes_on_quietly(&w).await;
    }
});

/// Another life, which finds nothing to do.
async fn goes_on_quietly(w: &World) {
    let d = Daemon::run(w);
    w.source.batch("update t set v = v || '.' where id = 1").await;
    equal_at_last(w).await;
    assert!(!d.log().contains("partitions came"), "{}", d.log());
    d.kill9();
}

// What becomes of it then is nothing to us; up to 14 the stream may bring it all the same, and over other rows.
both_logs!(it_goes_and_is_changed_by_itself, |w| {
    let _d = with_a_slot_that_stays(&w).await;
    w.source.batch("create table t_9 partition of t default").await;
    w.source.batch("alter table t detach partition t_1").await;
    w.source.batch("insert into t_1 values (1050, 'stray'), (1060, 'stray'), (4000, 'stray')").await;
    w.source.batch("delete from t_1 where id = 1050; update t_1 set v = 'stray' where id = 901").await;
    equal_at_last(&w).await;
    w.source
        .batch("insert into t values (901, 'another'); update t_1 set v = 'stray again'; delete from t_1 where id = 1060")
        .await;
    w.source.batch("insert into t values (902, 'another')").await;
    equal_at_last(&w).await;
    // dropped before anybody looks
    w.source.batch("update t_9 set v = v || '.'").await;
    equal_at_last(&w).await;
    w.source.batch("alter table t detach partition t_2").await;
    w.source.batch("insert into t values (1001, 'another'); update t_2 set v = 'stray' where id = 1001; drop table t_2").await;
    w.source.batch("insert into t values (1002, 'another')").await;
    equal_at_last(&w).await;
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

// The catalog has never shown them, or not as they were; the stream has brought their rows.
both_logs!(they_come_and_go_unseen, |w| {
    w.both(TREE).await;
    w.target.batch("create table t_9 partition of t default").await;
    w.source.batch("insert into t select g, 'v' from generate_series(900, 1100) g").await;
    w.connector("[[table]]\nsource = 'public.t'");
    let d = Daemon::run(&w);
    w.settle().await;
    let come_and_go = async || {
        let made = |name: &str, from: u32| {
            format!(
                "create table {name} partition of t for values from ({from}) to ({});
                 insert into t select g, 'made' from generate_series({from}, {from} + 9) g",
                from + 1000
            )
        };
        w.source.batch(&made("t_3", 2000)).await;
        w.source.batch("drop table t_3").await;
        w.source.batch(&made("t_4", 3000)).await;
        w.source.batch("truncate t_4").await;
        w.source.batch("insert into t values (3005, 'again')").await;
        w.source.batch(&made("t_5", 4000)).await;
        w.source.batch("alter table t detach partition t_5").await;
        w.source.batch("insert into t_5 values (950, 'stray'); update t_5 set v = 'stray'").await;
        w.source.batch(&made("t_6", 5000)).await;
        w.source.batch(&made("t_7", 6000)).await;
        w.source.batch("truncate t_7").await;
    };
    // one round of looking after another, of some ten seconds each
    let settle = async || {
        let waited = w.cli_within("wait", &["--lsn", "current", "--timeout", "180s"], PATIENCE * 4).await;
        waited.assert_code(0);
    };
    let all_is_well = async || {
        settle().await;
        w.equal("table t").await;
        w.source.batch("insert into t_5 values (951, 'stray'); update t set v = v || '.' where id % 2 = 0").await;
        settle().await;
        w.equal("table t").await;
        w.source.batch("drop table t_4, t_5, t_6, t_7").await;
        settle().await;
        w.equal("table t").await;
    };
    // while we run, and while we do not
    come_and_go().await;
    all_is_well().await;
    d.kill9();
    come_and_go().await;
    let _d = Daemon::run(&w);
    all_is_well().await;
});

// The file stays, and the stream says nothing of it.
both_logs!(one_is_emptied_by_the_transaction_that_makes_it, |w| {
    w.both(TREE).await;
    w.target.batch("create table t_9 partition of t default").await;
    w.source.batch("insert into t select g, 'v' from generate_series(900, 1100) g").await;
    w.connector("[[table]]\nsource = 'public.t'");
    let d = Daemon::run(&w);
    w.settle().await;
    let make = async |n: u32, part: &str| {
        let made = format!(
            "begin; {part}; create table t_{n} partition of t for values from ({n}000) to ({n}999);
             insert into t select g, 'gone' from generate_series({n}000, {n}009) g; truncate t_{n}; insert into t values ({n}020, 'stays');
             create table e_{n} partition of t for values from (1{n}000) to (1{n}999);
             insert into t select g, 'gone' from generate_series(1{n}000, 1{n}009) g; truncate e_{n}; commit"
        );
        w.source.batch(&made).await;
    };
    make(3, "select").await;
    w.settle().await;
    w.equal("table t").await;
    d.kill9();
    make(4, "savepoint s").await;
    let _d = Daemon::run(&w);
    w.settle().await;
    w.equal("table t").await;
});

// It looks as if it were gone while others still write to it.
async fn detached_under_a_writer(log: Log) {
    if Side::Source.major() < 14 {
        return; // no DETACH ... CONCURRENTLY
    }
    let w = World::own_source("detached-under-a-writer", log, &[]).await;
    w.both(TREE).await;
    w.source.batch("insert into t select g, 'v' from generate_series(900, 1100) g").await;
    w.connector("[[table]]\nsource = 'public.t'");
    let mut d = Daemon::run(&w);
    w.settle().await;
    let writer = w.source.session().await;
    writer.batch_execute("begin; insert into t values (1500, 'late'); update t set v = 'late' where id = 1001").await.unwrap();
    let other = w.source.session().await;
    let detach = tokio::spawn(async move { other.batch_execute("alter table t detach partition t_2 concurrently").await });
    eventually("it is about to go", PATIENCE, async || {
        w.source.text("select inhdetachpending from pg_inherits where inhrelid = 't_2'::regclass").await == "t"
    })
    .await;
    // each life looks at once
    w.expect_log("is being detached CONCURRENTLY");
    for _ in 0..2 {
        d.kill9();
        d = Daemon::run(&w);
        let said = w.cli("wait", &["--timeout", "3s"]).await.assert_code(1).all();
        assert!(said.contains("ALTER TABLE public.t DETACH PARTITION public.t_2 FINALIZE"), "{said}");
    }
    writer.batch_execute("commit").await.unwrap();
    detach.await.unwrap().unwrap();
    w.settle().await;
    w.equal("table t").await;
}

#[tokio::test]
async fn one_is_detached_under_a_writer_local() {
    detached_under_a_writer(Log::Local).await;
}

#[tokio::test]
async fn one_is_detached_under_a_writer_kafka() {
    detached_under_a_writer(Log::Kafka).await;
}

// Neither a life's beginning nor its looks wait for it, or for a whole table's lock.
async fn locked_while_another_comes(log: Log) {
    let w = World::own_source("partition-locked", log, &[]).await;
    w.both(TREE).await;
    w.both("create table u (id int primary key); create table x (id int primary key)").await;
    w.target.batch("create table t_9 partition of t default").await;
    w.source.batch("insert into t select g, 'v' from generate_series(900, 1100) g").await;
    w.connector("[[table]]\nsource = 'public.t'\n[[table]]\nsource = 'public.u'\n[[table]]\nsource = 'public.x'");
    let mut d = Daemon::run(&w);
    w.settle().await;
    let locks = w.source.session().await;
    locks.batch_execute("begin; lock table t_1, x in access exclusive mode").await.unwrap();
    let comes = async |n: u32| {
        w.source.batch(&format!("create table t_{n} partition of t for values from ({n}000) to ({n}999)")).await;
        w.source.batch(&format!("insert into t values ({n}000, 'new')")).await;
        w.source.batch(&format!("insert into u values ({n})")).await;
        let there = format!("select (select count(*) from t where id = {n}000) + (select count(*) from u where id = {n})");
        eventually("both are there", PATIENCE, async || w.target.text(&there).await == "2").await;
    };
    comes(3).await;
    d.kill9();
    d = Daemon::run(&w);
    comes(4).await;
    locks.batch_execute("insert into t_1 values (1, 'last'); insert into x values (1); commit").await.unwrap();
    w.settle().await;
    w.equal("table t").await;
    w.equal("table u").await;
    w.equal("table x").await;
    drop(d);
}

#[tokio::test]
async fn one_is_locked_while_another_comes_local() {
    locked_while_another_comes(Log::Local).await;
}

#[tokio::test]
async fn one_is_locked_while_another_comes_kafka() {
    locked_while_another_comes(Log::Kafka).await;
}

// Nobody knows whether it has rows until then.
async fn wait_waits(log: Log) {
    let w = World::own_source("partition-locked-unseen", log, &[]).await;
    w.both(TREE).await;
    w.target.batch("create table t_9 partition of t default").await;
    w.source.batch("insert into t select g, 'v' from generate_series(900, 1100) g").await;
    w.connector("[[table]]\nsource = 'public.t'");
    let _d = Daemon::run(&w);
    w.settle().await;
    let locks = w.source.session().await;
    locks
        .batch_execute(
            "begin; create table t_5 (like t including all); insert into t_5 values (5000, 'new');
             alter table t attach partition t_5 for values from (5000) to (5999); commit; begin; lock table t_5 in access exclusive mode",
        )
        .await
        .unwrap();
    let said = w.cli("wait", &["--timeout", "3s"]).await.assert_code(1).all();
    assert!(said.contains("a partition of `public.t` came, and is looked at once nobody has locked it"), "{said}");
    locks.batch_execute("commit").await.unwrap();
    w.settle().await;
    w.equal("table t").await;
}

#[tokio::test]
async fn one_that_is_locked_as_it_comes_is_waited_for_local() {
    wait_waits(Log::Local).await;
}

#[tokio::test]
async fn one_that_is_locked_as_it_comes_is_waited_for_kafka() {
    wait_waits(Log::Kafka).await;
}

// It is no table of its own that could be halted.
#[tokio::test]
async fn one_goes_while_its_copy_waits_for_it() {
    let w = World::own_source("partition-goes", Log::Local, &[]).await;
    w.both(TREE).await;
    w.source.batch("insert into t select g, 'v' from generate_series(900, 1100) g").await;
    w.connector("[[table]]\nsource = 'public.t'");
    let _d = Daemon::run(&w);
    w.settle().await;
    let dropper = w.source.session().await;
    dropper.batch_execute("begin; lock table t_2 in access exclusive mode").await.unwrap();
    w.cli("resync", &["--table", "public.t"]).await.assert_code(0);
    let waits = "select count(*) > 0 from pg_locks where relation = 't_2'::regclass and not granted";
    eventually("the copy waits for it", PATIENCE, async || w.source.text(waits).await == "t").await;
    dropper.batch_execute("drop table t_2; commit").await.unwrap();
    follows(&w).await;
    w.settle().await;
    w.equal("table t").await;
}

// Its rows come with the other's from then on.
both_logs!(a_table_of_ours_comes, |w| {
    w.both(TREE).await;
    w.both("create table s (id int primary key, v text); create table u (id int primary key)").await;
    w.target.batch("create table t_9 partition of t default").await;
    w.source.batch("insert into t values (1, 'v'); insert into s select g, 's' from generate_series(2000, 2010) g").await;
    let entries = "[[table]]\nsource = 'public.t'\n[[table]]\nsource = 'public.u'";
    w.connector(&format!("{entries}\n[[table]]\nsource = 'public.s'"));
    w.expect_log("it is a partition of `public.t`");
    w.expect_log("did not carry all of the table");
    let d = Daemon::run(&w);
    w.settle().await;
    w.source.batch("alter table t attach partition s for values from (2000) to (3000)").await;
    eventually("it halts", PATIENCE, async || w.table("public.s").await["state"] == "halted").await;
    w.source.batch("insert into u values (1); insert into t values (2011, 't'); update t set v = v || '.'").await;
    d.kill9();
    let d = Daemon::run(&w);
    equal_at_last(&w).await;
    w.connector(entries);
    d.hup();
    w.settle_at_last().await;
    w.equal("table t").await;
    w.equal("table u").await;
});

// Nothing tells which rows came or went: it halts, but for partitions that never were anything else.
both_logs!(rows_without_a_key, |w| {
    let tree = "create table t (id int, v text) partition by range (id); alter table t replica identity full;
         create table t_1 partition of t for values from (0) to (1000); alter table t_1 replica identity full";
    w.both(tree).await;
    w.target.batch("create table t_9 partition of t default").await;
    w.source.batch("insert into t select g % 5, 'v' from generate_series(1, 20) g").await;
    w.connector("[[table]]\nsource = 'public.t'");
    w.expect_log("without a key");
    w.expect_log("it has no key");
    let d = Daemon::run(&w);
    w.settle().await;
    let made = "create table t_2 partition of t for values from (1000) to (2000); alter table t_2 replica identity full";
    w.source.batch(made).await;
    w.source.batch("insert into t values (1000, 'w'), (1000, 'w')").await;
    w.settle().await;
    w.equal("table t").await;
    let halts = async |ddl: &str| {
        w.source.batch(ddl).await;
        eventually(ddl, PATIENCE, async || w.table("public.t").await["state"] == "halted").await;
        assert_ne!(w.cli("wait", &["--timeout", "2s"]).await.code, 0);
        let table = w.table("public.t").await;
        assert!(table["halted_because"].as_str().unwrap().contains("partitions of its source"), "{table}");
        let (_, sql) = table["hint"].as_str().unwrap().split_once("hold the same: ").unwrap();
        sql.split(';').next().unwrap().to_owned()
    };
    for (ddl, cure) in [
        (
            "create table t_3 (like t); insert into t_3 values (2000, 'alone'); alter table t_3 replica identity full;
          alter table t attach partition t_3 for values from (2000) to (3000)",
            "insert into t values (2000, 'alone')",
        ),
        ("truncate t_1", "delete from t where id < 1000"),
        ("drop table t_2", "delete from t where id = 1000"),
    ] {
        let sql = halts(ddl).await;
        // both sides hold the same, by hand
        w.target.batch(cure).await;
        w.target.batch(&sql).await;
        w.source.batch("insert into t values (1, 'goes on')").await;
        d.hup();
        follows(&w).await;
        w.settle().await;
        w.equal("table t").await;
    }
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
