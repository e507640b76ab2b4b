//! The first copy: of tables in use, of tables that come later, and after an interruption.

use crate::both_logs;
use crate::support::{Daemon, Load, PATIENCE, World, eventually, tablelift};

both_logs!(a_table_in_use, |w| {
    Load::prepare(&w).await;
    w.both("create table big (id int primary key, n int, v text)").await;
    w.source.batch("insert into big select g, 0, repeat('b', 100) from generate_series(1, 100000) g").await;
    w.connector(&format!("[[table]]\nsource = 'public.big'\n{}", Load::tables()));
    let load = Load::start(&w, 3);
    eventually("some traffic", PATIENCE, async || load.committed() > 100).await;
    let writer = {
        let source = w.source.clone();
        tokio::spawn(async move {
            for n in 0..200 {
                source.batch(&format!("update big set n = n + 1 where id % 200 = {n}; delete from big where id = {n} * 7 + 1; insert into big values (1000000 + {n}, 0, 'new')")).await;
            }
        })
    };
    let _d = Daemon::run(&w);
    writer.await.unwrap();
    load.stop().await;
    w.settle().await;
    Load::equal(&w).await;
    w.equal("table big").await;
});

both_logs!(a_table_comes_later, |w| {
    w.both("create table a (id int primary key, v text); create table b (id int primary key, v text)").await;
    w.source.batch("insert into a select g, 'a' from generate_series(1, 100) g; insert into b table a").await;
    w.connector("[[table]]\nsource = 'public.a'");
    let d = Daemon::run(&w);
    w.settle().await;
    assert_eq!(w.target.text("select count(*) from b").await, "0");
    d.term();
    let mut d = d;
    assert_eq!(d.exit().await, 0);
    drop(d);
    w.source.batch("insert into a values (101, 'away'); update b set v = 'changed' where id = 5").await;
    w.connector("[[table]]\nsource = 'public.a'\n[[table]]\nsource = 'public.b'");
    let _d = Daemon::run(&w);
    w.settle().await;
    w.source.batch("update a set v = v || '!'; update b set v = v || '!'").await;
    w.settle().await;
    w.equal("table a").await;
    w.equal("table b").await;
});

both_logs!(a_table_leaves, |w| {
    w.both("create table a (id int primary key); create table b (id int primary key)").await;
    w.connector("[[table]]\nsource = 'public.a'\n[[table]]\nsource = 'public.b'");
    let mut d = Daemon::run(&w);
    w.source.batch("insert into a values (1); insert into b values (1)").await;
    w.settle().await;
    d.term();
    assert_eq!(d.exit().await, 0);
    drop(d);
    w.connector("[[table]]\nsource = 'public.a'");
    let _d = Daemon::run(&w);
    w.source.batch("insert into a values (2); insert into b values (2)").await;
    w.settle().await;
    w.equal("table a").await;
    assert_eq!(w.target.text("select count(*) from b").await, "1", "what it brought stays");
});

both_logs!(until_a_position, |w| {
    w.both("create table t (id int primary key, v text)").await;
    w.source.batch("insert into t select g, 'x' from generate_series(1, 1000) g").await;
    w.connector("[[table]]\nsource = 'public.t'");
    w.cli("run", &["--endpos", "current"]).await.assert_code(0);
    w.equal("table t").await;
    w.source.batch("update t set v = 'y' where id < 10; delete from t where id = 20").await;
    w.cli("run", &["--endpos", "current"]).await.assert_code(0);
    w.equal("table t").await;
    // Nothing new: it ends all the same.
    w.cli("run", &["--endpos", "current"]).await.assert_code(0);
});

both_logs!(without_a_copy, |w| {
    w.both("create table t (id int primary key, v text)").await;
    w.source.batch("insert into t values (1, 'old')").await;
    w.connector("[[table]]\nsource = 'public.t'");
    let _d = Daemon::start(&w, "run", &["--no-copy"]);
    w.settle().await;
    w.source.batch("insert into t values (2, 'new')").await;
    w.settle().await;
    assert_eq!(w.target.text("table t").await, "2|new");
});

both_logs!(patterns_and_partitions, |w| {
    let ddl = "create table p (id int, at date, v text, primary key (id, at)) partition by range (at);
         create table p_2025 partition of p for values from ('2025-01-01') to ('2026-01-01');
         create table p_2026 (at date not null, v text, id int not null);
         alter table p attach partition p_2026 for values from ('2026-01-01') to ('2027-01-01');
         create table plain (id int primary key); create table audit_log (id int primary key); create unlogged table u (id int primary key);
         create schema other; create table other.t (id int primary key)";
    w.both(ddl).await;
    w.source.batch("insert into p select g, '2025-06-01'::date + g, 'v' from generate_series(1, 400) g; insert into plain values (1); insert into audit_log values (1)").await;
    w.connector("[[table]]\nsource = 'public.*'\nexclude = ['public.audit_*']");
    let _d = Daemon::run(&w);
    w.settle().await;
    w.source
        .each(&[
            "update p set v = 'w' where id % 2 = 0",
            "update p set at = at + 200 where id = 3",
            "delete from p where id = 4",
            "insert into plain values (2)",
        ])
        .await;
    w.settle().await;
    w.equal("table p").await;
    w.equal("table plain").await;
    assert_eq!(
        w.target.text("select (select count(*) from audit_log), (select count(*) from u), (select count(*) from other.t)").await,
        "0|0|0"
    );
});

/// Rows that are not ours are never mixed with a copy, and never removed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_is_not_empty() {
    let w = World::new("mixed").await;
    w.both("create table t (id int primary key, v text)").await;
    w.source.batch("insert into t values (1, 'source')").await;
    w.target.batch("insert into t values (7, 'theirs')").await;
    w.connector("[[table]]\nsource = 'public.t'");
    let out = w.cli("check", &[]).await.assert_code(1);
    assert!(out.stdout.contains("table.target_not_empty"), "{out:#?}");
    w.cli("run", &["--endpos", "current"]).await.assert_code(1);
    assert_eq!(w.target.text("table t").await, "7|theirs");
}

/// `capture` and `apply` apart, each dying and coming back on its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_halves_over_kafka() {
    let w = World::kafka("halves").await;
    Load::prepare(&w).await;
    w.connector(Load::tables());
    // both halves of one file ask for one port; the second goes on without
    for text in ["again", "slot", "closed", "cannot listen"] {
        w.expect_log(text);
    }
    w.cli("prepare", &[]).await.assert_code(0);
    let load = Load::start(&w, 2);
    let mut halves = (Daemon::start(&w, "capture", &[]), Daemon::start(&w, "apply", &[]));
    for round in 0..6 {
        let before = load.committed();
        eventually("some traffic", PATIENCE, async || load.committed() > before + 100).await;
        if round % 2 == 0 {
            halves.0.kill9();
            halves.0 = Daemon::start(&w, "capture", &[]);
        } else {
            halves.1.kill9();
            halves.1 = Daemon::start(&w, "apply", &[]);
        }
    }
    load.stop().await;
    w.settle().await;
    Load::equal(&w).await;
}

/// The service adds a column with the name of one that the file passes over. An apply that starts then knows nothing of earlier rows: it
/// waits for capture's word.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_column_waits_for_capture() {
    let w = World::kafka("late_column").await;
    w.source.batch("create table t (id int primary key, v text, x text); create table u (id int primary key)").await;
    w.target.batch("create table t (id int primary key, v text); create table u (id int primary key)").await;
    w.source.batch("insert into t values (1, 'copied', 'theirs')").await;
    w.connector("[[table]]\nsource = 'public.t'\nignore = ['*']\n[[table]]\nsource = 'public.u'");
    w.expect_log("cannot listen");
    w.expect_log("halted");
    let capture = Daemon::start(&w, "capture", &[]);
    let apply = Daemon::start(&w, "apply", &[]);
    w.settle().await;
    apply.term();
    eventually("apply has ended", PATIENCE, async || !apply.is_running()).await;
    w.target.batch("alter table t add x text").await;
    w.source.batch("insert into t values (2, 'new', 'theirs'); insert into u values (1)").await;
    let apply = Daemon::start(&w, "apply", &[]);
    let state = "select state || ': ' || coalesce(halted_because, '') from tablelift.table_state where source_name = 't'";
    eventually("apply waits for a word", PATIENCE, async || w.target.text(state).await.contains("not filled until now: x")).await;
    eventually("the other table goes on", PATIENCE, async || w.target.text("select * from u").await == "1").await;
    assert_eq!(w.target.text("select * from t").await, "1|copied|<null>");
    capture.hup();
    eventually("capture says it", PATIENCE, async || w.target.text(state).await.contains("earlier rows may lack its values"))
        .await;
    // both are told that it is meant
    w.target.batch("update t set x = 'theirs'; update tablelift.table_state set structure = null where source_name = 't'").await;
    capture.hup();
    eventually("it goes on", PATIENCE, async || w.table("public.t").await["state"] == "follow").await;
    w.settle().await;
    w.equal("select * from t").await;
    assert!(apply.is_running());
}

/// An apply that died between the last partition's arrival at a marker and the marker's opening: whoever comes next opens it with the first
/// partition that he reads, and meets it again in all the others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn arrivals_of_an_apply_that_is_gone() {
    let w = World::kafka("arrivals").await;
    w.both("create table t (id int primary key, v text)").await;
    w.source.batch("insert into t select g, 'v' from generate_series(1, 1000) g").await;
    w.connector_with(|file| file.log = "partitions = 8".to_owned(), "[[table]]\nsource = 'public.t'");
    w.cli("prepare", &[]).await.assert_code(0);
    w.expect_log("cannot listen");
    let _capture = Daemon::start(&w, "capture", &[]);
    eventually("capture has copied", PATIENCE, async || {
        w.target.try_text("select state from tablelift.table_state").await.is_ok_and(|state| state == "follow")
    })
    .await;
    let topic = w.topic("public.t");
    let sql = "insert into tablelift.barrier select connector, '$', 'r:' || lpad(capture_epoch::text, 12, '0') || '-000000', g, 0
               from tablelift.checkpoint, generate_series(0, 7) g where topic = ''";
    w.target.batch(&sql.replace('$', &topic)).await;
    let apply = Daemon::start(&w, "apply", &[]);
    w.settle().await;
    w.equal("select * from t").await;
    assert!(!apply.log().contains("taken over"), "{}", apply.log());
    assert_eq!(w.target.number("select count(*) from tablelift.barrier").await, 0);
}

/// What an ordinary consumer finds on a topic.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_for_everybody() {
    let w = World::kafka("topic").await;
    w.both("create table t (id int primary key, v text, n numeric, b bool)").await;
    w.source.batch("insert into t values (1, 'copied', 1.50, true)").await;
    w.connector("[[table]]\nsource = 'public.t'");
    let _d = Daemon::run(&w);
    w.settle().await;
    w.source
        .each(&[
            "insert into t values (2, 'ü', 'NaN', null)",
            "update t set v = 'w' where id = 2",
            "update t set id = 3 where id = 2",
            "delete from t where id = 3",
            "truncate t",
        ])
        .await;
    w.settle().await;
    let events = w.read_topic(&w.topic("public.t")).await;
    let told: Vec<String> = events
        .iter()
        .filter(|e| e.value.is_some())
        .map(|e| {
            let event = e.json();
            assert_eq!(event["source"]["connector"], "postgresql");
            assert_eq!(event["source"]["table"], "t");
            assert!(e.headers.contains_key("tablelift-epoch"), "{e:?}");
            format!("{} {} {}", event["op"].as_str().unwrap(), event["before"]["id"], event["after"]["id"])
        })
        .collect();
    for told_once in ["r null 1", "c null 2", "c null 3"] {
        assert_eq!(told.iter().filter(|t| *t == told_once).count(), 1, "{told_once}: {told:?}");
    }
    assert_eq!(told.iter().filter(|t| t.starts_with("d ")).count(), 2, "{told:?}");
    assert!(told.iter().any(|t| t.starts_with("t ")), "{told:?}");
    let insert = events.iter().find(|e| e.value.as_deref().is_some_and(|v| v.contains("\"c\"") && v.contains("NaN"))).unwrap();
    assert_eq!(insert.json()["after"], serde_json::json!({"id": 2, "v": "ü", "n": "NaN", "b": null}));
    assert_eq!(insert.key.as_deref(), Some("{\"id\":2}"));
    assert!(insert.headers.contains_key("tablelift-position"));
    assert!(events.iter().any(|e| e.value.is_none() && e.key.as_deref() == Some("{\"id\":3}")), "no tombstone after a delete");
}

/// What is not there yet: `check` prints the DDL that would do, and with it the copy goes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_target_table() {
    let w = World::new("ddl").await;
    w.source
        .batch("create table t (id int generated always as identity primary key, v varchar(20) not null, n numeric(10, 2)[])")
        .await;
    w.source.batch("insert into t (v, n) values ('a', '{1.5, null}')").await;
    w.connector("[[table]]\nsource = 'public.t'\ntarget = 'shop.t'");
    let findings = w.cli("check", &["--json"]).await.assert_code(1).json();
    let ddl: Vec<&str> = findings["findings"].as_array().unwrap().iter().filter_map(|f| f["remedy"]["text"].as_str()).collect();
    assert!(!ddl.is_empty(), "{findings}");
    for sql in ddl.iter().filter(|sql| sql.to_lowercase().contains("create")) {
        w.target.batch(sql).await;
    }
    w.cli("run", &["--endpos", "current"]).await.assert_code(0);
    w.equal_as("table t", "table shop.t").await;
    assert_eq!(tablelift(&["--version"]).await.code, 0);
}

/// Children before their parents, and more of them than are copied at a time: each comes when the rows it needs are there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn foreign_keys_in_the_wrong_order() {
    let w = World::new("copy-order").await;
    for n in (1..=5).rev() {
        let parent = if n < 5 { format!(" references t{}", n + 1) } else { String::new() };
        w.both(&format!("create table t{n} (id int primary key{parent})")).await;
        w.source.batch(&format!("insert into t{n} values (1), (2)")).await;
    }
    let entries: String = (1..=5).map(|n| format!("[[table]]\nsource = 'public.t{n}'\n")).collect();
    w.connector_with(|f| f.target += "triggers = 'fire'\n", &entries);
    let _d = Daemon::run(&w);
    w.settle().await;
    for n in 1..=5 {
        w.equal(&format!("table t{n}")).await;
    }
}

// An update writes a row anew, wherever there is room: out of blocks that are still to be read into such as were read already.
both_logs!(rows_that_move_into_what_was_read, |w| {
    w.both("create table t (id int primary key, n int, v text, large text); alter table t alter large set storage external")
        .await;
    w.source
        .batch("insert into t select g, 0, repeat('v', 300), case when g > 17000 then repeat(md5(g::text), 100) end from generate_series(1, 20000) g")
        .await;
    w.source.each(&["delete from t where id <= 6000", "vacuum t"]).await;
    w.connector("[copy]\nmax_rows_per_second = 3000\n[[table]]\nsource = 'public.t'");
    w.cli("prepare", &[]).await.assert_code(0);
    let _d = Daemon::run(&w);
    let begun = "select coalesce(sum(rows), 0) > 0 from tablelift.copy_range";
    eventually("it copies", PATIENCE, async || w.target.text(begun).await == "t").await;
    for n in 1..=4 {
        w.source.batch(&format!("update t set n = {n} where id % 4 = {} and id > 15000", n % 4)).await;
    }
    let front = w.source.text("select count(*) > 1000 from t where id > 15000 and ctid < '(200,0)'").await;
    assert_eq!(front, "t", "the rows did not move: this test says nothing");
    w.settle().await;
    w.equal("table t").await;
});
