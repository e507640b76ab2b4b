//! The log in bad shape: what it refuses or has lost stops the table that it concerns, and no other.

use crate::support::{Daemon, PATIENCE, World, eventually};
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;

const TABLES: &str = "create table good (id int primary key, v text); create table bad (id int primary key, v text)";
const ENTRIES: &str = "[[table]]\nsource = 'public.good'\n[[table]]\nsource = 'public.bad'";
/// About 60 kB that no codec makes small.
const LARGE: &str = "(select string_agg(md5(random()::text), '') from generate_series(1, 2000))";

fn admin(w: &World) -> AdminClient<DefaultClientContext> {
    let brokers = w.brokers.lock().unwrap().clone();
    rdkafka::ClientConfig::from_iter([("bootstrap.servers".to_owned(), brokers)]).create().unwrap()
}

async fn limit(w: &World, table: &str, bytes: &str) {
    let topic = w.topic(table);
    let config = AlterConfig::new(ResourceSpecifier::Topic(&topic)).set("max.message.bytes", bytes);
    let done = admin(w).alter_configs([&config], &AdminOptions::new()).await.unwrap();
    done.into_iter().for_each(|one| drop(one.unwrap()));
}

async fn is_halted(w: &World, table: &str, text: &str) {
    eventually(&format!("`{table}` is halted"), PATIENCE, async || {
        let found = w.table(table).await;
        found["state"] == "halted" && found["halted_because"].as_str().is_some_and(|because| because.contains(text))
    })
    .await;
}

async fn same(w: &World, table: &str) {
    let sql = format!("table {table}");
    eventually(&format!("`{table}` is the same on both sides"), PATIENCE, async || {
        w.source.digest(&sql).await == w.target.digest(&sql).await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_is_too_large() {
    let w = World::kafka("too-large").await;
    w.both(TABLES).await;
    w.connector(ENTRIES);
    w.expect_log("halted");
    w.expect_log("again");
    let d = Daemon::run(&w);
    w.settle().await;
    limit(&w, "public.bad", "20000").await;
    w.source
        .each(&[
            "insert into bad values (1, 'before')",
            &format!("begin; insert into good values (1, 'same transaction'); insert into bad values (2, {LARGE}); commit"),
            "insert into bad values (3, 'behind'); insert into good values (2, 'behind')",
        ])
        .await;
    is_halted(&w, "public.bad", "larger than topic").await;
    same(&w, "good").await;
    w.source.batch("insert into good values (3, 'later'); update bad set v = 'changed' where id = 1").await;
    same(&w, "good").await;
    // the third row may have been on its way, in another partition
    let passed = w.target.text("select count(*) from bad where id = 2 or v = 'changed'").await;
    assert_eq!(passed, "0", "nothing passes the halted place");
    // its place outlives us, however we end
    d.kill9();
    let d = Daemon::run(&w);
    w.source.batch("insert into good values (4, 'after a crash')").await;
    is_halted(&w, "public.bad", "larger than topic").await;
    same(&w, "good").await;
    limit(&w, "public.bad", "1000000").await;
    d.hup();
    eventually("the cured table goes on", PATIENCE, async || w.cli("wait", &["--timeout", "2s"]).await.code == 0).await;
    w.equal("table bad").await;
    w.equal("table good").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_is_deleted() {
    let w = World::kafka("deleted").await;
    w.both(TABLES).await;
    w.connector(ENTRIES);
    for text in ["halted", "again", "topic"] {
        w.expect_log(text);
    }
    let mut d = Daemon::run(&w);
    w.settle().await;
    w.source.batch("insert into good values (1, 'a'); insert into bad values (1, 'a')").await;
    w.settle().await;
    d.term();
    assert_eq!(d.exit().await, 0);
    drop(d);
    let topic = w.topic("public.bad");
    let done = admin(&w).delete_topics(&[&topic], &AdminOptions::new()).await.unwrap();
    done.into_iter().for_each(|one| drop(one.unwrap()));
    for _ in 0..2 {
        let d = Daemon::run(&w);
        w.source
            .batch("insert into good select max(id) + 1, 'b' from good; insert into bad select max(id) + 1, 'b' from bad")
            .await;
        is_halted(&w, "public.bad", "does not exist").await;
        same(&w, "good").await;
        assert_eq!(w.target.text("select count(*) from bad").await, "1");
        d.kill9();
    }
    // the way out that it names: copied again
    w.connector("[[table]]\nsource = 'public.good'");
    w.cli("run", &["--endpos", "current"]).await.assert_code(0);
    w.target.batch("truncate bad").await;
    w.connector(ENTRIES);
    let _d = Daemon::run(&w);
    w.settle().await;
    w.source.batch("insert into bad select max(id) + 1, 'c' from bad").await;
    w.settle().await;
    w.equal("table bad").await;
    w.equal("table good").await;
}

/// Retention has cut off what apply needs next. It halts there, and what it names as the way out is one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_that_are_gone() {
    let w = World::kafka("gap").await;
    w.both(TABLES).await;
    w.source.batch("insert into bad select g, 'first' from generate_series(1, 50) g").await;
    w.connector(ENTRIES);
    w.expect_log("halted");
    w.cli("run", &["--endpos", "current"]).await.assert_code(0);
    w.source.batch("insert into bad select g, 'second' from generate_series(51, 100) g; insert into good values (1, 'a')").await;
    w.cli("capture", &["--endpos", "current"]).await.assert_code(0);
    let topic = w.topic("public.bad");
    let mut ends = rdkafka::TopicPartitionList::new();
    for partition in 0..8 {
        ends.add_partition_offset(&topic, partition, rdkafka::Offset::End).unwrap();
    }
    admin(&w).delete_records(&ends, &AdminOptions::new()).await.unwrap();
    w.source.batch("insert into bad values (101, 'third')").await;
    let d = Daemon::run(&w);
    is_halted(&w, "public.bad", "comes next").await;
    same(&w, "good").await;
    d.kill9();
    w.connector("[[table]]\nsource = 'public.good'");
    w.cli("run", &["--endpos", "current"]).await.assert_code(0);
    w.connector(ENTRIES);
    let out = w.cli("run", &["--endpos", "current"]).await;
    assert!(out.code != 0 && out.all().contains("not empty"), "rows that are there are never removed unasked: {out:#?}");
    w.target.batch("truncate bad").await;
    let _d = Daemon::run(&w);
    eventually("it is copied anew", PATIENCE, async || w.cli("wait", &["--timeout", "2s"]).await.code == 0).await;
    w.source.batch("update bad set v = 'fourth' where id = 60").await;
    w.settle().await;
    w.equal("table bad").await;
    w.equal("table good").await;
}
