//! Constraints of the target that are deferred to COMMIT, with `triggers = "fire"`: they hold at the end of each source transaction,
//! or one table halts there.

use crate::both_logs;
use crate::halt::{arrives, halted};
use crate::support::{Daemon, PATIENCE, World, eventually};

fn connector(w: &World, tables: &[&str]) {
    let entries: Vec<String> = tables.iter().map(|table| format!("[[table]]\nsource = 'public.{table}'\n")).collect();
    w.connector_with(|f| f.target += "triggers = 'fire'\n", &entries.concat());
}

/// The target cured, and nothing halted any more.
async fn goes_on(w: &World, d: &Daemon) {
    d.hup();
    eventually("the cured table goes on", PATIENCE, async || w.cli("wait", &["--timeout", "1s"]).await.code == 0).await;
}

/// A foreign key that only the target has. Everything waits in the slot when the daemon comes, so it goes to the target at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_key_of_the_target_alone() {
    let w = World::new("deferred-fk").await;
    w.both("create table t (id int primary key, region int); create table other (id int primary key)").await;
    w.target
        .batch(
            "create table region (id int primary key); insert into region values (1), (2);
             alter table t add constraint t_region foreign key (region) references region deferrable initially deferred",
        )
        .await;
    connector(&w, &["t", "other"]);
    w.expect_log("halt");
    let mut d = Daemon::run(&w);
    w.settle().await;
    d.term();
    assert_eq!(d.exit().await, 0);
    drop(d);
    w.source
        .each(&[
            "insert into t values (1, 1)",
            "begin; insert into t values (2, 9); insert into other values (1); update t set region = 2 where id = 2; commit",
            "begin; insert into t values (3, 1); insert into other values (2); insert into t values (4, 3); commit",
            "insert into t values (5, 1)",
            "insert into other values (3)",
        ])
        .await;
    let d = Daemon::run(&w);
    halted(&w, "public.t").await;
    arrives(&w, "other").await;
    assert_eq!(w.target.text("select id from t order by id").await, "1\n2", "it stands before the transaction that is refused");
    let log = d.log();
    assert!(log.contains("23503") && log.contains("t_region") && log.contains("hint:"), "{log}");
    w.source.batch("insert into other values (4)").await;
    arrives(&w, "other").await;
    w.target.batch("insert into region values (3)").await;
    goes_on(&w, &d).await;
    w.equal("table t").await;
    w.equal("table other").await;
}

/// Children before parents and swapped values, within one source transaction: what the source may do, the target may.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn within_a_transaction_it_need_not_hold() {
    let w = World::new("deferred-in").await;
    w.both(
        "create table parent (id int primary key);
         create table child (id int primary key, parent int references parent deferrable initially deferred,
                             rank int unique deferrable initially deferred)",
    )
    .await;
    connector(&w, &["child", "parent"]);
    let _d = Daemon::run(&w);
    w.settle().await;
    w.source.batch("begin; insert into child select g, g, g from generate_series(0, 9) g; insert into parent select generate_series(0, 9); commit").await;
    for _ in 0..10 {
        w.source
            .each(&[
                "update child set rank = 9 - rank",
                "begin; delete from parent where id = 0; update child set parent = null where parent = 0; commit",
                "begin; update child set parent = 0 where id = 0; insert into parent values (0); commit",
            ])
            .await;
    }
    w.settle().await;
    w.equal("table parent").await;
    w.equal("table child").await;
}

// A deferred trigger of the target refuses: its own error names no table.
both_logs!(a_constraint_trigger, |w| {
    w.both("create table bad (id int primary key, v text); create table good (id int primary key, v text)").await;
    w.target
        .batch(
            "create function no_nines() returns trigger language plpgsql as
               $$ begin if new.v = 'nine' then raise exception 'no, %', new.v; end if; return null; end $$;
             create constraint trigger no_nines after insert or update on bad deferrable initially deferred
               for each row execute function no_nines()",
        )
        .await;
    connector(&w, &["good", "bad"]);
    w.expect_log("halt");
    let d = Daemon::run(&w);
    w.settle().await;
    w.source
        .each(&[
            "insert into bad select g, 'eight' from generate_series(1, 50) g",
            "begin; insert into good values (1, 'a'); insert into bad values (100, 'nine'); insert into good values (2, 'b'); commit",
            "insert into good values (3, 'c')",
        ])
        .await;
    halted(&w, "public.bad").await;
    arrives(&w, "good").await;
    assert_eq!(w.target.text("select count(*) from bad where id = 100").await, "0");
    assert!(d.log().contains("P0001") && !d.log().contains("nine"), "{}", d.log());
    w.target.batch("drop trigger no_nines on bad").await;
    goes_on(&w, &d).await;
    w.equal("table bad").await;
    w.equal("table good").await;
});

/// Rows of the target alone refer to one that the source deletes: the server names a table that is none of ours.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_names_a_table_that_is_not_ours() {
    let w = World::new("deferred-not-ours").await;
    w.both("create table a (id int primary key); create table b (id int primary key)").await;
    w.target.batch("create table theirs (b int constraint theirs_b references b deferrable initially deferred)").await;
    connector(&w, &["a", "b"]);
    w.expect_log("halt");
    let d = Daemon::run(&w);
    w.source.batch("insert into a select generate_series(1, 3); insert into b select generate_series(1, 3)").await;
    w.settle().await;
    w.target.batch("insert into theirs values (2)").await;
    w.source.batch("begin; delete from a where id = 1; delete from b where id < 3; commit").await;
    halted(&w, "public.b").await;
    arrives(&w, "a").await;
    assert_eq!(w.target.text("select count(*) from b").await, "3");
    assert!(d.log().contains("theirs_b"), "{}", d.log());
    w.target.batch("truncate theirs").await;
    goes_on(&w, &d).await;
    w.equal("table b").await;
}

/// A transaction that comes in several parts, refused at its end, is read again without the table that is to blame.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_transaction() {
    let w = World::new("deferred-large").await;
    w.both("create table t (id int primary key, region int); create table other (id int primary key)").await;
    w.target
        .batch(
            "create table region (id int primary key); insert into region values (1);
             alter table t add constraint t_region foreign key (region) references region deferrable initially deferred",
        )
        .await;
    connector(&w, &["t", "other"]);
    w.expect_log("halt");
    let d = Daemon::run(&w);
    w.source.batch("insert into t values (0, 1)").await;
    w.settle().await;
    w.source
        .batch(
            "begin; insert into other select generate_series(1, 30000); insert into t select g, 1 + (g = 50)::int from generate_series(1, 30000) g;
             insert into other select generate_series(30001, 50000); commit",
        )
        .await;
    w.source.batch("insert into other values (60000); insert into t values (60000, 1)").await;
    halted(&w, "public.t").await;
    arrives(&w, "other").await;
    assert_eq!(w.target.text("table t").await, "0|1");
    assert!(d.log().contains("t_region"), "{}", d.log());
    w.target.batch("insert into region values (2)").await;
    goes_on(&w, &d).await;
    w.equal("table t").await;
    w.equal("table other").await;
}

/// Through Kafka a parent may come later than its child: the child waits for it, as where the foreign key is immediate.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_parent_that_comes_later() {
    let w = World::kafka("deferred-later").await;
    w.both("create table t (id int primary key, region int)").await;
    w.target
        .batch(
            "create table region (id int primary key); insert into region values (1);
             alter table t add constraint t_region foreign key (region) references region deferrable initially deferred",
        )
        .await;
    connector(&w, &["t"]);
    w.expect_log("23503");
    let _d = Daemon::run(&w);
    w.settle().await;
    w.source.batch("insert into t select g, 1 + (g = 50)::int from generate_series(1, 100) g").await;
    eventually("the others are there", PATIENCE, async || w.target.number("select count(*) from t").await > 50).await;
    assert_eq!(w.target.text("select count(*) from t where id = 50").await, "0");
    w.target.batch("insert into region values (2)").await;
    w.settle().await;
    w.equal("table t").await;
}

// A trigger that is enabled ALWAYS fires for us too, whatever `triggers` says, and may be deferred to COMMIT.
both_logs!(an_always_trigger, |w| {
    w.both("create table t (id int primary key, v text); create table good (id int primary key)").await;
    w.target
        .batch(
            "create function no() returns trigger language plpgsql as $$ begin
                if new.v = 'bad' then raise exception 'no' using errcode = 'check_violation'; end if; return null; end $$;
             create constraint trigger no after insert on t deferrable initially deferred for each row execute function no();
             alter table t enable always trigger no",
        )
        .await;
    w.connector("[[table]]\nsource = 'public.t'\n[[table]]\nsource = 'public.good'");
    w.expect_log("halted");
    let d = Daemon::run(&w);
    w.settle().await;
    w.source.each(&["insert into t values (1, 'fine')", "insert into t values (2, 'bad')", "insert into good values (1)"]).await;
    eventually("it is halted", PATIENCE, async || w.table("public.t").await["state"] == "halted").await;
    eventually("the other goes on", PATIENCE, async || w.target.text("table good").await == "1").await;
    assert_eq!(w.target.text("select count(*) from t where id = 2").await, "0");
    w.target.batch("drop trigger no on t").await;
    goes_on(&w, &d).await;
    w.equal("table t").await;
});
