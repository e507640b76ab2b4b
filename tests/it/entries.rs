//! The connector file's entries while the daemon lives: tables that come under a pattern, go, or have another name; entries that say something
//! else than before. What is wrong with one of them stops its table, and nobody else's.

use crate::both_logs;
use crate::support::{Daemon, PATIENCE, World, eventually};

const ALL: &str = "[[table]]\nsource = 'public.*'";

/// `t` is copied and followed under a pattern.
async fn under_a_pattern(w: &World) -> Daemon {
    followed(w, ALL).await
}

async fn followed(w: &World, entries: &str) -> Daemon {
    w.both("create table t (id int primary key, v text)").await;
    w.source.batch("insert into t select g, 'copied' from generate_series(1, 50) g").await;
    w.connector(entries);
    let d = Daemon::run(w);
    w.settle().await;
    d
}

async fn halted(w: &World, source: &str, because: &str) {
    eventually(&format!("`{source}` halts: {because}"), PATIENCE, async || {
        let status = w.status().await;
        let mut tables = status["tables"].as_array().into_iter().flatten();
        tables.any(|table| {
            let says = |text: &serde_json::Value| text.as_str().is_some_and(|text| text.contains(because));
            table["source"] == source && table["state"] == "halted" && (says(&table["halted_because"]) || says(&table["hint"]))
        })
    })
    .await;
}

async fn arrives(w: &World, table: &str) {
    let known = async || {
        let status = w.status().await;
        let name = format!("public.{table}");
        status["tables"].as_array().into_iter().flatten().any(|found| found["source"] == name.as_str())
    };
    eventually(&format!("`{table}` is taken on"), PATIENCE, known).await;
    w.settle_at_last().await;
    w.equal(&format!("table {table}")).await;
}

/// What comes is copied and followed without anybody's word, also where the first tables had their rows already.
async fn comes(w: &World, options: &[&str]) {
    w.both("create table t (id int primary key, v text)").await;
    w.connector_with(|f| f.target += "create = \"missing\"\n", ALL);
    let _d = Daemon::start(w, "run", options);
    w.settle().await;
    w.source
        .batch("create table born (id int primary key, v text); insert into born select g, 'there' from generate_series(1, 99) g")
        .await;
    arrives(w, "born").await;
    w.source.batch("insert into born values (100, 'came'); update born set v = 'changed' where id < 9; delete from born where id = 50; insert into t values (1, 'one')").await;
    arrives(w, "born").await;
    w.equal("table t").await;
}

both_logs!(a_table_comes, |w| {
    comes(&w, &[]).await;
});

both_logs!(a_table_comes_beside_those_that_had_their_rows, |w| {
    comes(&w, &["--no-copy"]).await;
});

// It stands still from its first moment, holds nobody up, also not at a restart, and is taken on once it fits.
both_logs!(one_that_does_not_fit_comes, |w| {
    w.expect_log("halted");
    let d = under_a_pattern(&w).await;
    w.both("create table born (id int not null, v text)").await;
    halted(&w, "public.born", "key").await;
    w.source.batch("insert into born select g, 'there' from generate_series(1, 99) g; update born set v = 'nobody is held up' where id = 1; insert into t values (100, 'more')").await;
    eventually("the others go on", PATIENCE, async || w.target.number("select count(*) from t").await == 51).await;
    assert_eq!(w.cli("wait", &["--timeout", "30s"]).await.code, 1, "the target does not hold it all");
    d.kill9();
    let _d = Daemon::run(&w);
    w.source.batch("insert into t values (101, 'more')").await;
    eventually("the others go on", PATIENCE, async || w.target.number("select count(*) from t").await == 52).await;
    halted(&w, "public.born", "key").await;
    w.both("alter table born add primary key (id)").await;
    arrives(&w, "born").await;
});

// A person's own publication is never altered: the table waits for its owner.
both_logs!(one_that_is_not_published_comes, |w| {
    w.both("create table t (id int primary key)").await;
    w.source.batch("create publication mine for table t").await;
    w.connector_with(|f| f.source += "publication = 'mine'\n", ALL);
    w.expect_log("halted");
    let _d = Daemon::run(&w);
    w.settle().await;
    w.both("create table born (id int primary key)").await;
    w.source.batch("insert into born values (1)").await;
    let cure = "ALTER PUBLICATION \"mine\" ADD TABLE ONLY \"public\".\"born\"";
    halted(&w, "public.born", cure).await;
    w.source.batch(cure).await;
    arrives(&w, "born").await;
});

both_logs!(a_table_goes, |w| {
    w.expect_log("halted");
    w.expect_log("left the connector file");
    let d = under_a_pattern(&w).await;
    w.both("create table other (id int primary key)").await;
    arrives(&w, "other").await;
    w.source.batch("drop table t; insert into other values (1)").await;
    halted(&w, "public.t", "no such table").await;
    eventually("the other goes on", PATIENCE, async || w.target.number("select count(*) from other").await == 1).await;
    w.connector(&format!("{ALL}\nexclude = ['public.t']"));
    d.hup();
    eventually("it leaves", PATIENCE, async || w.status().await["tables"].as_array().map(Vec::len) == Some(1)).await;
    arrives(&w, "other").await;
    assert_eq!(w.target.number("select count(*) from t").await, 50, "its rows stay");
});

// It is not taken for a new one, and what is written under the other name is not lost.
both_logs!(a_table_has_another_name, |w| {
    w.expect_log("halted");
    w.expect_log("left out");
    let d = under_a_pattern(&w).await;
    w.source.batch("alter table t rename to u; insert into u values (100, 'u'); update u set v = 'u' where id < 9").await;
    halted(&w, "public.t", "`public.u` now").await;
    halted(&w, "public.t", "ALTER TABLE \"public\".\"u\" RENAME TO \"t\"").await;
    d.kill9();
    let _d = Daemon::run(&w);
    w.source.batch("insert into u values (101, 'u'); delete from u where id = 30").await;
    halted(&w, "public.t", "`public.u` now").await;
    assert_eq!(w.status().await["tables"].as_array().map(Vec::len), Some(1));
    w.source.batch("alter table u rename to t; insert into t values (102, 't')").await;
    arrives(&w, "t").await;
});

both_logs!(a_named_table_is_in_another_schema, |w| {
    w.expect_log("halted");
    let d = followed(&w, "[[table]]\nsource = 'public.t'").await;
    w.source.batch("create schema aside; alter table t set schema aside; insert into aside.t values (100, 'aside')").await;
    halted(&w, "public.t", "`aside.t` now").await;
    d.kill9();
    let _d = Daemon::run(&w);
    w.source.batch("update aside.t set v = 'aside' where id < 9; delete from aside.t where id = 30").await;
    let back = "ALTER TABLE \"aside\".\"t\" SET SCHEMA \"public\"";
    halted(&w, "public.t", back).await;
    w.source.batch(back).await;
    w.source.batch("insert into t values (102, 't')").await;
    arrives(&w, "t").await;
});

const TWO: &str = "[[table]]\nsource = 'public.t'\n[table.columns]\nv = \"upper(v)\"\n[[table]]\nsource = 'public.other'";

// An entry that says other values than before: its table stands still, at SIGHUP and at a restart, until the entry is put back.
both_logs!(an_entry_says_something_else, |w| {
    w.both("create table t (id int primary key, v text); create table other (id int primary key)").await;
    w.source.batch("insert into t select g, 'copied' from generate_series(1, 50) g").await;
    w.connector(TWO);
    w.expect_log("halted");
    let d = Daemon::run(&w);
    w.settle().await;
    w.connector(&TWO.replace("upper", "md5"));
    d.hup();
    halted(&w, "public.t", "other rows or values").await;
    w.source.batch("insert into t values (100, 'more'); delete from t where id = 7; insert into other values (1)").await;
    eventually("the other goes on", PATIENCE, async || w.target.number("select count(*) from other").await == 1).await;
    d.kill9();
    let d = Daemon::run(&w);
    w.source.batch("insert into t values (101, 'more'); insert into other values (2)").await;
    eventually("the other goes on", PATIENCE, async || w.target.number("select count(*) from other").await == 2).await;
    halted(&w, "public.t", "put the entry back").await;
    assert_eq!(w.target.number("select count(*) from t where v = upper(v)").await, 50);
    w.connector(TWO);
    d.hup();
    w.settle_at_last().await;
    w.equal_as("select id, upper(v) from t", "select id, v from t").await;
});

// An added entry that does not fit stands still, and goes on once it does.
both_logs!(an_entry_comes_too_early, |w| {
    w.both("create table t (id int primary key, v text)").await;
    let entry = "[[table]]\nsource = 'public.t'\n";
    w.connector(entry);
    w.expect_log("halted");
    let d = Daemon::run(&w);
    w.settle().await;
    w.connector(&format!("{entry}[[table]]\nsource = 'public.later'"));
    d.hup();
    halted(&w, "public.later", "no such table").await;
    w.both("create table later (id int primary key)").await;
    w.source.batch("insert into later values (1); insert into t values (1)").await;
    arrives(&w, "later").await;
    w.equal("table t").await;
});

// What stands still hides nothing that becomes of another table, though its target has that one's name.
both_logs!(names_that_cross, |w| {
    w.both("create table t (id int primary key, v text); create table stays (id int primary key)").await;
    w.target.batch("create table other (id int primary key, v text)").await;
    w.source.batch("insert into t values (1, 'a')").await;
    let entries = "[[table]]\nsource = 'public.t'\ntarget = 'public.other'\n[[table]]\nsource = 'public.stays'\n";
    w.connector(entries);
    w.expect_log("halted");
    let d = Daemon::run(&w);
    w.settle().await;
    w.connector(&format!("{entries}[[table]]\nsource = 'public.other'\ntarget = 'public.t'"));
    d.hup();
    halted(&w, "public.other", "no such table").await;
    w.source.batch("alter table t alter v type text using upper(v)").await;
    halted(&w, "public.t", "written anew").await;
});

// A file that cannot be followed at all changes nothing.
both_logs!(a_file_that_cannot_be, |w| {
    w.expect_log("stays as it was");
    w.expect_log("halted");
    let d = under_a_pattern(&w).await;
    w.both("create table other (id int primary key)").await;
    arrives(&w, "other").await;
    w.connector_with(|f| f.log += "topic_prefix = 'another'\n", ALL);
    if w.log == crate::support::Log::Kafka {
        d.hup();
        d.logged("`topic_prefix` is").await;
    }
    w.target
        .batch(
            "create table fired (id int); create function fires() returns trigger language plpgsql as
                'begin insert into fired values (new.id); return new; end';
             create trigger fires before insert on t for each row execute function fires()",
        )
        .await;
    let another = "[[table]]\nsource = 'public.other'\ntarget = 'public.t'";
    w.connector_with(|f| f.target += "triggers = 'fire'\n", another);
    d.hup();
    d.logged("another source table").await;
    // nothing of it is followed, by neither half
    eventually("triggers are off again", PATIENCE, async || {
        let last = w.source.number("insert into t select greatest(max(id), 200) + 1, 'more' from t returning id").await;
        let of = async |table: &str| w.target.number(&format!("select count(*) from {table} where id = {last}")).await;
        eventually("a row comes", PATIENCE, async || of("t").await == 1).await;
        of("fired").await == 0
    })
    .await;
    w.source.batch("insert into t values (100, 'more'); insert into other values (1)").await;
    arrives(&w, "t").await;
    arrives(&w, "other").await;
});

// The application's own statements must not begin to fail: a leaf without a key is never published.
both_logs!(a_partitioned_one_comes_that_does_not_fit, |w| {
    w.expect_log("halted");
    let _d = under_a_pattern(&w).await;
    w.target.batch("create table born (id int, v text)").await;
    w.source
        .batch(
            "create table born (id int, v text) partition by list (id); alter table born replica identity full;
             create table born_1 partition of born for values in (1); insert into born values (1, 'a')",
        )
        .await;
    halted(&w, "public.born", "born_1").await;
    w.source.batch("update born set v = 'b'; delete from born; insert into t values (100, 'more')").await;
    eventually("the others go on", PATIENCE, async || w.target.number("select count(*) from t").await == 51).await;
    w.source.batch("alter table born_1 replica identity full; insert into born values (1, 'c')").await;
    arrives(&w, "born").await;
});

// A label that the target's type lacks is the matter of the tables that have the type.
both_logs!(they_come_and_one_lacks_its_type, |w| {
    w.expect_log("halted");
    w.source.batch("create type mood as enum ('a'); create table t (id int primary key, m mood)").await;
    w.connector_with(|f| f.target += "create = \"missing\"\n", "[[table]]\nsource = 'public.*'");
    let _d = Daemon::run(&w);
    w.settle().await;
    w.source.batch("alter type mood add value 'b'").await;
    w.source
        .batch(
            "begin; create table has_it (id int primary key, m mood); create table plain (id int primary key);
             insert into has_it values (1, 'b'); insert into plain values (1); commit",
        )
        .await;
    halted(&w, "public.has_it", "lacks the label").await;
    let came = async || w.target.try_text("select count(*) from plain").await.is_ok_and(|count| count == "1");
    eventually("the other has come", PATIENCE, came).await;
    w.target.batch("alter type mood add value 'b'").await;
    eventually("it has come", PATIENCE, async || w.target.try_text("select m from has_it").await.is_ok_and(|m| m == "b")).await;
});

// The topic of an earlier life has as many partitions as the table was to have then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_comes_back_to_its_topic() {
    use rdkafka::admin::{AdminClient, AdminOptions};
    let w = World::kafka("entries-back").await;
    w.both("create table was_one (id int primary key, u int unique); create table was_many (id int primary key, u int); create table t (id int primary key)").await;
    w.source.batch("insert into was_one select g, g from generate_series(1, 50) g; insert into was_many table was_one").await;
    let (all, rest) = ("[[table]]\nsource = 'public.*'", "[[table]]\nsource = 'public.t'");
    w.connector(all);
    let d = Daemon::run(&w);
    w.settle().await;
    w.connector(rest);
    w.expect_log("left the connector file");
    d.hup();
    eventually("both have left", PATIENCE, async || w.status().await["tables"].as_array().is_some_and(|all| all.len() == 1))
        .await;
    w.both("alter table was_one drop constraint was_one_u_key").await;
    w.target.batch("truncate was_one, was_many; create unique index on was_many (u)").await;
    w.connector(all);
    w.expect_log("halted");
    d.hup();
    halted(&w, "public.was_many", "have to be in one").await;
    w.source.batch("update was_one set u = 1; update was_many set u = -u; insert into t values (1)").await;
    let came = "select (select count(*) from was_one where u = 1) + (select count(*) from t)";
    eventually("the others go on", PATIENCE, async || w.target.number(came).await == 51).await;
    let found = w.cli("check", &["--json"]).await.assert_code(1).json();
    assert!(found["findings"].as_array().unwrap().iter().any(|finding| finding["code"] == "log.partitions"), "{found:#}");
    let brokers = w.brokers.lock().unwrap().clone();
    let admin: AdminClient<_> = rdkafka::ClientConfig::from_iter([("bootstrap.servers".to_owned(), brokers)]).create().unwrap();
    admin.delete_topics(&[&w.topic("public.was_many")], &AdminOptions::new()).await.unwrap();
    d.hup();
    arrives(&w, "was_many").await;
    w.source.batch("update was_many set u = 51 - abs(u)").await;
    arrives(&w, "was_many").await;
}

// One more entry for a table that is followed: copied, or, where that cannot be, told.
both_logs!(one_more_entry_for_a_table, |w| {
    w.both("create table t (id int primary key, v text)").await;
    w.target.batch("create table short (id int primary key)").await;
    w.source.batch("insert into t select g, 'copied' from generate_series(1, 50) g").await;
    let entry = "[[table]]\nsource = 'public.t'\n";
    let both = format!("{entry}{entry}target = 'public.short'\nignore = ['v']\n");
    w.connector(entry);
    w.expect_log("halted");
    w.expect_log("left the connector file");
    let d = Daemon::run(&w);
    w.settle().await;
    w.connector(&both);
    d.hup();
    if w.log == crate::support::Log::Kafka {
        eventually("it is told", PATIENCE, async || {
            let status = w.status().await;
            status["tables"].as_array().into_iter().flatten().any(|table| {
                table["target"] == "public.short"
                    && table["halted_because"].as_str().is_some_and(|text| text.contains("one more entry"))
            })
        })
        .await;
        w.source.batch("insert into t values (100, 'more')").await;
        eventually("the first goes on", PATIENCE, async || w.target.number("select count(*) from t").await == 51).await;
        w.connector("[[table]]\nsource = 'public.nothing'");
        d.hup();
        eventually("both are gone", PATIENCE, async || {
            w.status().await["tables"]
                .as_array()
                .is_some_and(|tables| tables.len() == 1 && tables[0]["source"] == "public.nothing")
        })
        .await;
        w.target.batch("truncate t, short").await;
        w.connector(&both);
        d.hup();
        eventually("both are known", PATIENCE, async || {
            w.status().await["tables"].as_array().is_some_and(|tables| tables.len() == 2)
        })
        .await;
    }
    w.source.batch("insert into t values (101, 'more'); delete from t where id = 7").await;
    arrives(&w, "t").await;
    eventually("both have it all", PATIENCE, async || {
        w.source.digest("select id from t").await == w.target.digest("table short").await
    })
    .await;
});
