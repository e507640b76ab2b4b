//! The harness itself: what the other tests lean on.

use crate::support::{Cluster, Db, Load, PATIENCE, Proxy, World, eventually};
use std::time::Duration;

#[tokio::test]
async fn worlds_are_apart_and_alike() {
    let (a, b) = (World::new("apart").await, World::new("apart").await);
    assert_ne!(a.name, b.name);
    a.both("create table t (id int primary key)").await;
    a.source.batch("insert into t values (1), (2)").await;
    a.target.batch("insert into t values (2), (1)").await;
    a.equal("select * from t").await;
    a.equal_as("select id + 1 from t", "select id + 1 as other from t").await;
    assert_eq!(b.source.text("select to_regclass('t') is null, 'x'").await, "t|x");
}

#[tokio::test]
#[should_panic(expected = "only target")]
async fn a_difference_is_seen() {
    let w = World::new("difference").await;
    w.both("create table t (id int primary key)").await;
    w.target.batch("insert into t values (1)").await;
    w.equal("select * from t").await;
}

#[tokio::test]
async fn a_cluster_of_ones_own_restarts() {
    let cluster = Cluster::source(&["work_mem = '5MB'"]).await;
    let db = cluster.db("one").await;
    assert_eq!(db.text("show work_mem").await, "5MB");
    db.batch("create table t ()").await;
    cluster.set(&["work_mem = '6MB'"]).await;
    eventually("the setting is read", PATIENCE, async || db.text("show work_mem").await == "6MB").await;
    cluster.kill9().await;
    assert!(db.try_session().await.is_err());
    cluster.start_again().await;
    assert_eq!(db.text("select count(*) from t").await, "0");
}

#[tokio::test]
async fn a_standby_is_promoted() {
    let cluster = Cluster::source(&[]).await;
    cluster.db("one").await.batch("create table t ()").await;
    let standby = cluster.standby().await;
    let db = Db::new(standby.port, "one");
    assert_eq!(db.text("select pg_is_in_recovery()").await, "t");
    cluster.stop("immediate").await;
    standby.promote().await;
    assert_eq!(db.text("select pg_is_in_recovery(), count(*) from t").await, "f|0");
}

#[tokio::test]
async fn a_proxy_cuts_delays_and_falls_silent() {
    let w = World::new("proxy").await;
    let proxy = Proxy::before(w.source.port).await;
    let through = Db::new(proxy.port, &w.source.name);
    assert_eq!(through.text("select 1").await, "1");
    proxy.delay(Duration::from_millis(30));
    let start = std::time::Instant::now();
    through.text("select 1").await;
    assert!(start.elapsed() >= Duration::from_millis(60));
    proxy.silence();
    assert!(tokio::time::timeout(Duration::from_millis(200), through.text("select 1")).await.is_err());
    proxy.mend();
    eventually("it answers again", PATIENCE, async || through.try_text("select 1").await.is_ok()).await;
    proxy.cut();
    eventually("it is cut", PATIENCE, async || through.try_text("select 1").await.is_err()).await;
    assert!(through.try_session().await.is_err());
}

#[tokio::test]
async fn the_load_keeps_its_sum() {
    let w = World::new("load").await;
    Load::prepare(&w).await;
    let load = Load::start(&w, 4);
    eventually("some transactions", PATIENCE, async || load.committed() > 300).await;
    load.stop().await;
    assert_eq!(w.source.text("select sum(balance) from load_accounts").await, "200000");
    assert!(w.source.number("select count(*) from load_rows").await > 20);
}

#[tokio::test]
async fn the_broker_takes_and_gives() {
    use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
    let w = World::kafka("broker").await;
    let brokers = w.brokers.lock().unwrap().clone();
    let config = rdkafka::ClientConfig::from_iter([("bootstrap.servers".to_string(), brokers)]);
    let admin: rdkafka::admin::AdminClient<_> = config.create().unwrap();
    let topic = w.topic("public.t");
    let new = rdkafka::admin::NewTopic::new(&topic, 3, rdkafka::admin::TopicReplication::Fixed(1));
    admin.create_topics([&new], &rdkafka::admin::AdminOptions::new()).await.unwrap();
    let producer: ThreadedProducer<DefaultProducerContext> = config.create().unwrap();
    for n in 0..30 {
        producer.send(BaseRecord::to(&topic).key(&format!("k{n}")).payload(&format!("{{\"n\":{n}}}"))).unwrap();
    }
    producer.flush(PATIENCE).unwrap();
    let events = w.read_topic(&topic).await;
    assert_eq!(events.len(), 30);
    assert_eq!(events.iter().map(|e| e.json()["n"].as_i64().unwrap()).sum::<i64>(), 435);
}
