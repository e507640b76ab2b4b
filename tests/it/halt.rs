//! A table that halts holds its place and loses nothing; the others go on.

use crate::both_logs;
use crate::chunks::{arrived, slowly, under_way};
use crate::support::{Daemon, Load, Log, PATIENCE, Side, World, eventually};
use std::time::{Duration, Instant};

/// Waits until a table is halted, as `wait` tells, which then returns at once.
pub async fn halted(w: &World, table: &str) {
    eventually(&format!("`{table}` is halted"), PATIENCE, async || {
        let out = w.cli("wait", &["--timeout", "1s"]).await;
        out.code == 1 && out.stderr.contains(&format!("table `{table}` is halted"))
    })
    .await;
}

/// Waits until a table of the others holds what the source holds. (`wait` says no while one is halted.)
pub async fn arrives(w: &World, table: &str) {
    let sql = format!("table {table}");
    eventually(&format!("`{table}` is the same on both sides"), PATIENCE, async || {
        w.source.digest(&sql).await == w.target.digest(&sql).await
    })
    .await;
}

both_logs!(a_refused_row, |w| {
    w.both("create table good (id int primary key, v text); create table bad (id int primary key, v text, n int)").await;
    w.target.batch("alter table bad add constraint short check (length(v) < 10)").await;
    w.connector("[[table]]\nsource = 'public.good'\n[[table]]\nsource = 'public.bad'");
    w.expect_log("halt");
    let d = Daemon::run(&w);
    w.settle().await;
    w.source
        .each(&[
            "insert into bad values (1, 'fine', 1)",
            "begin; insert into bad values (2, 'Hemlig-Uppgift', 42424242); insert into good values (1, 'same transaction'); commit",
            "insert into bad values (3, 'later', 1); update bad set n = 2 where id = 1",
            "insert into good values (2, 'others go on')",
        ])
        .await;
    halted(&w, "public.bad").await;
    arrives(&w, "good").await;
    let start = Instant::now();
    let out = w.cli("wait", &["--lsn", "current", "--timeout", "50s"]).await.assert_code(1);
    assert!(start.elapsed() < Duration::from_secs(20), "`wait` does not return at once on a halted table");
    // The SQLSTATE and the constraint are told, the row is not.
    for text in [&out.all(), &d.log(), &w.cli("status", &[]).await.all(), &w.cli("status", &["--json"]).await.all()] {
        assert!(!text.contains("Hemlig") && !text.contains("42424242"), "a row's values are shown: {text}");
    }
    assert!(d.log().contains("23514") && d.log().contains("short"), "SQLSTATE and constraint are not in the log: {}", d.log());
    if w.log == Log::Local {
        // Through Kafka the order is per key: other partitions go on.
        assert_eq!(w.target.text("select count(*) from bad where id > 1").await, "0", "nothing passes a halted table's place");
    }
    d.term();
    // Its place outlives us.
    let mut d = d;
    assert_eq!(d.exit().await, 0);
    drop(d);
    w.source.batch("insert into good values (3, 'while we were away'); insert into bad values (4, 'and', 4)").await;
    let d = Daemon::run(&w);
    halted(&w, "public.bad").await;
    arrives(&w, "good").await;
    w.target.batch("alter table bad drop constraint short").await;
    d.hup();
    eventually("the cured table goes on", PATIENCE, async || w.cli("wait", &["--timeout", "1s"]).await.code == 0).await;
    w.settle().await;
    w.equal("table bad").await;
    w.equal("table good").await;
});

/// While a table is halted, crashes and traffic on the others change nothing of its place.
async fn a_halted_table_under_load(log: Log) {
    let name = if log == Log::Local { "hload" } else { "hkload" };
    let w = if log == Log::Local { World::new(name).await } else { World::kafka(name).await };
    Load::prepare(&w).await;
    w.target.batch("alter table load_accounts add constraint rich check (balance <> 1003 or id < 5)").await;
    w.connector(Load::tables());
    for text in ["halt", "again", "slot", "closed"] {
        w.expect_log(text);
    }
    let d = Daemon::run(&w);
    w.settle().await;
    let load = Load::start(&w, 3);
    halted(&w, "public.load_accounts").await;
    d.kill9();
    for _ in 0..4 {
        let (d, before) = (Daemon::run(&w), load.committed());
        eventually("some traffic", PATIENCE, async || load.committed() > before + 150).await;
        d.kill9();
    }
    let d = Daemon::run(&w);
    load.stop().await;
    arrives(&w, "load_rows").await;
    arrives(&w, "load_journal").await;
    w.target.batch("alter table load_accounts drop constraint rich").await;
    d.hup();
    eventually("the cured table goes on", PATIENCE * 2, async || w.cli("wait", &["--timeout", "3s"]).await.code == 0).await;
    Load::equal(&w).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_halted_table_under_load_local() {
    a_halted_table_under_load(Log::Local).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_halted_table_under_load_kafka() {
    a_halted_table_under_load(Log::Kafka).await;
}

both_logs!(a_new_column, |w| {
    w.both("create table t (id int primary key, v text); create table other (id int primary key)").await;
    w.connector("[[table]]\nsource = 'public.t'\n[[table]]\nsource = 'public.other'");
    w.expect_log("halt");
    let d = Daemon::run(&w);
    w.settle().await;
    w.source.batch("insert into t values (1, 'before')").await;
    w.source.batch("alter table t add column note text").await;
    w.source.batch("insert into t values (2, 'after', 'noted'); insert into other values (1)").await;
    halted(&w, "public.t").await;
    arrives(&w, "other").await;
    assert_eq!(w.target.text("select string_agg(id::text, ',') from t").await, "1");
    let cure = r#"ALTER TABLE "public"."t" ADD COLUMN "note" text"#;
    let told = async |field: &str| w.table("public.t").await[field].as_str().is_some_and(|text| text.contains(cure));
    assert!(told("hint").await);
    d.hup();
    eventually("a new life says it too", PATIENCE, async || told("halted_because").await).await;
    w.target.batch(cure).await;
    d.hup();
    eventually("it goes on with the new column", PATIENCE, async || w.cli("wait", &["--timeout", "1s"]).await.code == 0).await;
    w.equal("table t").await;
});

/// Rows that the stream says nothing of: once the mapping fits again, the table must not go on as if nothing had been.
async fn stays_halted(w: &World, d: &Daemon, table: &str, reason: &str) {
    let told = async || {
        let found = w.table(table).await;
        found["state"] == "halted" && found["halted_because"].as_str().is_some_and(|because| because.contains(reason))
    };
    eventually(&format!("`{table}` is halted: {reason}"), PATIENCE, told).await;
    d.hup();
    let before = d.log().matches(reason).count();
    eventually("a new life says so again", PATIENCE, async || d.log().matches(reason).count() > before && told().await).await;
}

both_logs!(values_that_the_stream_does_not_tell, |w| {
    w.both(
        "create table typed (id int primary key, v int, w text); create table late (id int primary key);
         create table swapped (id int primary key, v text, w text); create table again (id int primary key, v text);
         create table anew (id int primary key, v text); create table other (id int primary key)",
    )
    .await;
    let tables = ["typed", "late", "swapped", "again", "anew", "other"];
    w.connector(&tables.map(|table| format!("[[table]]\nsource = 'public.{table}'\n")).concat());
    for text in ["halt", "again", "fit", "publication"] {
        w.expect_log(text);
    }
    for table in &tables[..5] {
        w.source.batch(&format!("insert into {table} (id) values (1)")).await;
    }
    w.source.batch("update typed set v = 7; update swapped set v = 'v', w = 'w'; update again set v = 'v'").await;
    let d = Daemon::run(&w);
    w.settle().await;
    w.both("alter table typed alter v type text using 'n' || v").await;
    w.both("alter table late add column n int default 7").await;
    w.source
        .batch("alter table swapped rename v to x; alter table swapped rename w to v; alter table swapped rename x to w")
        .await;
    w.source.batch("alter table again drop column v, add column v text").await;
    w.source.batch("drop table anew; create table anew (id int primary key, v text); insert into anew values (2, 'b')").await;
    for table in ["typed", "late", "swapped", "again"] {
        w.source.batch(&format!("insert into {table} (id) values (3)")).await;
    }
    w.source.batch("insert into other values (1)").await;
    arrives(&w, "other").await;
    stays_halted(&w, &d, "public.typed", "changed its type").await;
    stays_halted(&w, &d, "public.late", "was not filled").await;
    stays_halted(&w, &d, "public.swapped", "is another one").await;
    stays_halted(&w, &d, "public.again", "is another one").await;
    stays_halted(&w, &d, "public.anew", "the source table was made anew").await;
    // the person's own word for it
    w.target
        .batch("update late set n = 7 where id = 1; update tablelift.table_state set structure = null where target_name = 'late'")
        .await;
    d.hup();
    eventually("a table that was put right goes on", PATIENCE, async || w.table("public.late").await["state"] == "follow").await;
    arrives(&w, "late").await;
});

/// What is recorded of a table's files, or of its columns' entries.
async fn watched(w: &World, what: &str) -> String {
    w.target
        .text(&format!("select structure::jsonb -> 'watched' -> '{what}' from tablelift.table_state where target_name = 't'"))
        .await
}

// Both sides look as they did before, and the values are others. What only gives the rows other files, or only alters the column, halts nobody.
both_logs!(a_column_is_converted_within_its_type, |w| {
    w.both("create table t (id int primary key, v text, unused int); create table other (id int primary key, v text)").await;
    w.source.batch("insert into t select g, 'a' from generate_series(1, 50) g; insert into other values (1, 'a')").await;
    w.connector("[[table]]\nsource = 'public.t'\nignore = ['unused']\n[[table]]\nsource = 'public.other'");
    w.target.batch("alter table t drop unused").await;
    w.expect_log("halted");
    let d = Daemon::run(&w);
    w.settle().await;
    for (what, sql) in [
        ("files", "vacuum full t"),
        ("columns", "alter table t alter v set default 'd'"),
        ("files", "truncate t; insert into t values (1, 'a')"),
        ("files", "alter table t alter unused type int using id"),
    ] {
        let before = watched(&w, what).await;
        w.source.batch(sql).await;
        eventually("it is seen", PATIENCE, async || watched(&w, what).await != before).await;
        w.source.batch("update t set v = v || 'x'; update other set v = v || 'x'").await;
        w.settle().await;
    }
    w.equal("select id, v from t").await;
    w.source.batch("alter table t alter v type text using upper(v); update other set v = 'goes on'").await;
    stays_halted(&w, &d, "public.t", "written anew").await;
    arrives(&w, "other").await;
    w.source.batch("insert into t values (2, 'B')").await;
    w.target.batch("update t set v = upper(v); update tablelift.table_state set structure = null where target_name = 't'").await;
    d.hup();
    eventually("it goes on", PATIENCE, async || w.table("public.t").await["state"] == "follow").await;
    w.settle().await;
    w.equal("select id, v from t").await;
});

// The target's column has the name of the new one, and the service's own values; another one was made ready, and has none.
both_logs!(a_new_column_whose_name_is_taken, |w| {
    w.source.batch("create table t (id int primary key); create table u (id int primary key)").await;
    w.target.batch("create table t (id int primary key, note text); create table u (id int primary key, note text)").await;
    w.source.batch("insert into t values (1), (2); insert into u values (1), (2)").await;
    w.connector("[[table]]\nsource = 'public.t'\n[[table]]\nsource = 'public.u'");
    w.expect_log("halted");
    let d = Daemon::run(&w);
    w.settle().await;
    w.target.batch("update t set note = 'the service''s own' where id = 2").await;
    w.source.batch("alter table t add note text; insert into t values (3, 'c'); update t set note = 'a' where id = 1").await;
    w.source.batch("alter table u add note text; insert into u values (3, 'c'); update u set note = 'a' where id = 1").await;
    arrives(&w, "u").await;
    w.equal("table u").await;
    stays_halted(&w, &d, "public.t", "has values already").await;
    assert_eq!(w.target.text("select note from t where id = 2").await, "the service's own");
    w.target.batch("alter table t rename note to remark; alter table t add note text").await;
    d.hup();
    eventually("it goes on", PATIENCE, async || w.table("public.t").await["state"] == "follow").await;
    w.settle().await;
    w.equal("select id, note from t").await;
});

both_logs!(a_target_table_made_anew, |w| {
    w.both("create table t (id int primary key); create table u (id int primary key, v text)").await;
    w.source.batch("insert into t values (1); insert into u values (1, 'a')").await;
    w.connector("[[table]]\nsource = 'public.t'\n[[table]]\nsource = 'public.u'");
    for text in ["halt", "again", "fit", "exist"] {
        w.expect_log(text);
    }
    let d = Daemon::run(&w);
    w.settle().await;
    w.target.batch("drop table t; create table t (id int primary key); alter table u drop column v, add column v text").await;
    w.source.batch("insert into t values (2); insert into u values (2, 'b')").await;
    stays_halted(&w, &d, "public.t", "the target table was made anew").await;
    stays_halted(&w, &d, "public.u", "column `v` of the target is another one").await;
});

// A column is dropped while its table is copied: half of the rows have its values.
both_logs!(a_column_goes_during_the_copy, |w| {
    w.both("create table t (id int primary key, c int default 3, v text); create table other (id int primary key)").await;
    w.source.batch("insert into t select g, 5, repeat(md5(g::text), 12) from generate_series(1, 20000) g").await;
    let tables = "[[table]]\nsource = 'public.t'\n[[table]]\nsource = 'public.other'";
    slowly(&w, 2000, tables);
    for text in ["halt", "again", "fit", "exist"] {
        w.expect_log(text);
    }
    let d = Daemon::run(&w);
    under_way(&w, "t").await;
    w.source.batch("alter table t drop column c").await;
    w.source.batch("insert into other values (1)").await;
    stays_halted(&w, &d, "public.t", "`c` is gone from the source").await;
    arrives(&w, "other").await;
    w.target.batch("alter table t drop column c").await;
    slowly(&w, 100_000, tables);
    d.hup();
    eventually("it goes on", PATIENCE, async || w.table("public.t").await["state"] != "halted").await;
    arrived(&w, &["t", "other"]).await;
});

// A table that was a partition comes under the pattern by itself, while its rows in the target are still another table's.
both_logs!(targets_that_lie_in_one_another, |w| {
    w.both(
        "create table p (id int primary key, v text) partition by range (id);
         create table p1 partition of p for values from (0) to (100); create table p2 partition of p for values from (100) to (200)",
    )
    .await;
    w.source.batch("insert into p select g, md5(g::text) from generate_series(1, 199) g").await;
    w.connector("[[table]]\nsource = 'public.*'");
    w.expect_log("left out");
    let d = Daemon::run(&w);
    w.settle().await;
    w.source.batch("alter table p detach partition p1").await;
    d.kill9();
    let d = Daemon::run(&w);
    w.source.batch("update p set v = 'y' where id = 150; insert into p1 values (0, 'new')").await;
    w.settle().await;
    assert_eq!(w.target.text("select v from p where id = 150").await, "y");
    assert!(d.log().contains("it is a partition of `public.p`"), "{}", d.log());
    assert!(w.cli("check", &[]).await.assert_code(1).all().contains("DETACH PARTITION \"public\".\"p1\""));
    assert_eq!(w.target.text("select count(*) from p").await, "100", "the partition's rows went with it");
    // the one half of the cure, then the other
    w.target.batch("alter table p detach partition p1; truncate p1").await;
    d.hup();
    arrives(&w, "p1").await;
    arrives(&w, "p").await;
});

both_logs!(a_publication_that_somebody_alters, |w| {
    w.both("create table t (id int primary key); create table u (id int primary key)").await;
    w.connector("[[table]]\nsource = 'public.t'\n[[table]]\nsource = 'public.u'");
    for text in ["halt", "again", "fit", "publication", "stays as it was"] {
        w.expect_log(text);
    }
    let mut d = Daemon::run(&w);
    w.settle().await;
    let publication = w.object_name();
    w.source
        .batch(&format!("alter publication {publication} drop table t; insert into t values (1); insert into u values (1)"))
        .await;
    stays_halted(&w, &d, "public.t", "the publication did not carry all of the table").await;
    arrives(&w, "u").await;
    w.source.batch(&format!("alter publication {publication} drop table u")).await;
    stays_halted(&w, &d, "public.u", "the publication did not carry all of the table").await;
    w.source.batch(&format!("alter publication {publication} set (publish = 'insert')")).await;
    assert_eq!(d.exit().await, 1, "found while it runs, though nothing is left to follow");
    drop(d);
    for sql in ["", "drop publication $"] {
        w.source.batch(&sql.replace('$', &publication)).await;
        let out = w.cli("run", &["--endpos", "current"]).await.assert_code(1);
        assert!(out.stderr.contains("is not in the stream") && out.stderr.contains("hint:"), "{out:#?}");
    }
});

// A filter or a list that comes while the daemon runs keeps rows and values back without a word in the stream.
both_logs!(a_publication_that_somebody_narrows, |w| {
    if Side::Source.major() < 15 {
        return;
    }
    w.both("create table t (id int primary key, v text); create table u (id int primary key, v text)").await;
    w.both("create table good (id int primary key, v text)").await;
    w.source.batch("create publication mine for table t, u, good with (publish_via_partition_root = true)").await;
    w.connector_with(|f| f.source += "publication = 'mine'\n", "[[table]]\nsource = 'public.*'");
    for text in ["halt", "again", "fit", "publication"] {
        w.expect_log(text);
    }
    let d = Daemon::run(&w);
    w.settle().await;
    w.source.batch("alter publication mine set table t where (id > 5), u (id), good (id, v)").await;
    w.source.batch("insert into t values (1, 'kept back'); insert into u values (1, 'kept back')").await;
    w.source.batch("insert into good values (1, 'carried')").await;
    for table in ["public.t", "public.u"] {
        stays_halted(&w, &d, table, "the publication").await;
    }
    arrives(&w, "good").await;
});

both_logs!(an_ignored_new_column, |w| {
    w.both("create table t (id int primary key, v text)").await;
    w.connector("[[table]]\nsource = 'public.t'\non_new_column = 'ignore'");
    let _d = Daemon::run(&w);
    w.settle().await;
    w.source.batch("alter table t add column note text; insert into t values (1, 'x', 'y')").await;
    w.source.batch("update t set note = 'z'; insert into t values (2, 'x', null)").await;
    w.settle().await;
    w.equal_as("select id, v from t", "table t").await;
});

both_logs!(a_dropped_column, |w| {
    w.both("create table t (id int primary key, v text, gone int)").await;
    w.connector("[[table]]\nsource = 'public.t'");
    w.expect_log("halt");
    let d = Daemon::run(&w);
    w.source.batch("insert into t values (1, 'a', 1)").await;
    w.settle().await;
    w.source.batch("alter table t drop column gone; insert into t values (2, 'b')").await;
    halted(&w, "public.t").await;
    w.target.batch("alter table t drop column gone").await;
    d.hup();
    eventually("it goes on without it", PATIENCE, async || w.cli("wait", &["--timeout", "1s"]).await.code == 0).await;
    w.equal("table t").await;
});

// An update that lacks its large value, and no row on the target to take it from: the row is read again.
both_logs!(a_missing_base, |w| {
    w.both("create table t (id int primary key, n int, large text); alter table t alter large set storage external").await;
    w.source.batch("insert into t select g, 0, repeat(md5(g::text), 200) from generate_series(1, 5) g").await;
    w.connector("[[table]]\nsource = 'public.t'");
    let _d = Daemon::run(&w);
    w.settle().await;
    w.target.batch("delete from t where id in (3, 4)").await;
    w.source.batch("update t set n = 1 where id = 3; update t set id = 7, n = 2 where id = 4").await;
    w.settle().await;
    w.equal("table t").await;
    assert_eq!(w.target.text("select count(*) from tablelift.reread").await, "0");
});

/// Somebody else on the target holds a lock that we need: we wait, say who it is, and lose nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_on_the_target() {
    let w = World::new("lock").await;
    w.both("create table t (id int primary key, v text)").await;
    w.connector("[[table]]\nsource = 'public.t'");
    for text in ["lock", "again", "block"] {
        w.expect_log(text);
    }
    let _d = Daemon::run(&w);
    w.settle().await;
    let other = w.target.session().await;
    other.batch_execute("begin; lock table t in access exclusive mode").await.unwrap();
    let pid: i32 = other.query_one("select pg_backend_pid()", &[]).await.unwrap().get(0);
    w.source.batch("insert into t values (1, 'x')").await;
    eventually("status names the blocking pid", PATIENCE, async || {
        w.cli("status", &["--json"]).await.stdout.contains(&pid.to_string())
    })
    .await;
    other.batch_execute("commit").await.unwrap();
    w.settle().await;
    w.equal("table t").await;
}

/// What capture wrote before a column came is read by an apply that knows it with the column.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_column_while_apply_is_away() {
    let w = World::kafka("awaycol").await;
    w.both("create table t (id int primary key, v text)").await;
    w.source.batch("insert into t select g, 'copied' from generate_series(1, 100) g").await;
    w.connector("[[table]]\nsource = 'public.t'");
    for text in ["halt", "cannot listen", "waits"] {
        w.expect_log(text);
    }
    let capture = Daemon::start(&w, "capture", &[]);
    let apply = Daemon::start(&w, "apply", &[]);
    w.settle().await;
    apply.kill9();
    w.source.batch("insert into t select g, 'before' from generate_series(101, 200) g; update t set v = 'w' where id < 50").await;
    w.target.batch("alter table t add n int").await;
    w.source.batch("alter table t add n int").await;
    w.source.batch("insert into t values (201, 'after', 7); update t set n = 1 where id % 10 = 0").await;
    // at once: what halted it is not yet on record
    capture.logged("halted").await;
    capture.hup();
    let _apply = Daemon::start(&w, "apply", &[]);
    // the halt is on record until capture has begun anew
    w.settle_at_last().await;
    w.equal("table t").await;
}

/// What stopped a table in an earlier life of capture's is told by a later one only where it stops it again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_halt_of_an_earlier_life() {
    let w = World::kafka("earlier").await;
    w.both("create table t (id int primary key)").await;
    w.connector("[[table]]\nsource = 'public.t'");
    w.expect_log("halted");
    let mut d = Daemon::run(&w);
    w.settle().await;
    w.source.batch("alter table t add n int; insert into t values (1, 1)").await;
    let recorded = "select count(*) from tablelift.table_state where halted_because is not null";
    eventually("the halt is recorded", PATIENCE, async || w.target.text(recorded).await == "1").await;
    d.term();
    assert_eq!(d.exit().await, 0);
    // what the target is told from here on
    w.target
        .each(&[
            "alter table t add n int",
            "create table told (because text)",
            "create function tell() returns trigger language plpgsql as $$ begin insert into public.told values (new.halted_because); return null; end $$",
            "create trigger tells after update on tablelift.table_state for each row when (new.halted_because is not null) execute function tell()",
            "update tablelift.table_state set halted_because = null, hint = null",
        ])
        .await;
    let _d = Daemon::run(&w);
    w.settle().await;
    assert_eq!(w.target.text("select count(*) from told").await, "0", "a halt is told that is over");
    w.equal("table t").await;
}

/// Whoever takes partitions of a halted table over says what becomes of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_halt_that_another_takes_over() {
    let w = World::kafka("taker").await;
    w.both("create table t (id int primary key, v text)").await;
    w.connector_with(|file| file.log = "partitions = 4".to_owned(), "[[table]]\nsource = 'public.t'");
    for text in ["halt", "cannot listen"] {
        w.expect_log(text);
    }
    let _capture = Daemon::start(&w, "capture", &[]);
    let (stays, mut goes) = (Daemon::start(&w, "apply", &[]), Daemon::start(&w, "apply", &[]));
    w.settle().await;
    w.target.batch("alter table t add constraint nothing check (false) not valid").await;
    w.source.batch("insert into t select g, 'halts' from generate_series(1, 100) g").await;
    eventually("both are halted", PATIENCE, async || [&stays, &goes].iter().all(|d| d.log().contains("table halted"))).await;
    w.target.batch("alter table t drop constraint nothing").await;
    goes.term();
    assert_eq!(goes.exit().await, 0);
    eventually("it is halted no more", PATIENCE, async || w.table("public.t").await["state"] != "halted").await;
    w.settle().await;
    w.equal("table t").await;
}

// The server quotes what it cannot read also in what it says of statements.
both_logs!(a_value_is_not_told, |w| {
    w.source.batch("create table t (id int primary key, v text)").await;
    w.target.batch("create table t (id int primary key, v tsquery)").await;
    w.connector("[[table]]\nsource = 'public.t'\n[table.columns]\nv = 'v::tsquery'");
    w.expect_log("halt");
    let d = Daemon::run(&w);
    w.settle().await;
    w.source.batch("insert into t values (1, 'zebra9 xx')").await;
    halted(&w, "public.t").await;
    let told = w.status().await.to_string() + &d.log();
    assert!(told.contains("42601"), "{told}");
    assert!(!told.contains("zebra9"), "{told}");
});

// The place that the others have reached, and the halt, are recorded together: who looks between the two sees both, or none.
both_logs!(a_halt_comes_while_wait_looks, |w| {
    w.both("create table t (id int primary key)").await;
    w.connector("[[table]]\nsource = 'public.t'");
    let d = Daemon::run(&w);
    w.settle().await;
    d.kill9();
    w.source.batch("insert into t values (1)").await;
    let wait = w.cli("wait", &["--timeout", "30s"]);
    let halt = async {
        w.target.batch("begin; lock table tablelift.checkpoint, tablelift.watermark in access exclusive mode").await;
        let waits = "select count(*) from pg_locks where not granted
                     and database = (select oid from pg_database where datname = current_database())";
        eventually("it looks", PATIENCE, async || w.target.number(waits).await > 0).await;
        w.target
            .batch(
                "update tablelift.table_state set halted_because = 'it was told to', hint = 'none', lacks_from = '1/0/1/0';
                 update tablelift.checkpoint set end_lsn = 'FFFF/0'; update tablelift.watermark set end_lsn = 'FFFF/0'; commit",
            )
            .await;
    };
    let (said, ()) = tokio::join!(wait, halt);
    assert!(said.code == 1 && said.stderr.contains("it was told to"), "{said:#?}");
});
