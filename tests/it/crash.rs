//! Whatever dies, nothing is lost and nothing comes twice.

use crate::both_logs;
use crate::support::{Daemon, Load, Log, PATIENCE, Proxy, World, eventually};
use std::time::{Duration, Instant};

/// What the daemon may complain of while somebody else is away or dead.
fn expect_outages(w: &World) {
    for text in ["retry", "again", "connect", "closed", "slot", "shut"] {
        w.expect_log(text);
    }
}

/// Kills and starts the daemon over and over, at moments that differ from run to run.
async fn kill_over_and_over(w: &World, load: &Load, times: u32) {
    for _ in 0..times {
        let d = Daemon::run(w);
        let (before, moment) = (load.committed(), u64::from(crate::support::servers::rand_seed() as u32 % 900));
        // Some die while they start, some in the middle of the stream.
        let start = Instant::now();
        eventually("the moment", PATIENCE, async || start.elapsed() > Duration::from_millis(moment) && load.committed() > before)
            .await;
        d.kill9();
    }
}

both_logs!(twenty_sigkills, |w| {
    Load::prepare(&w).await;
    w.connector(Load::tables());
    expect_outages(&w);
    let load = Load::start(&w, 3);
    {
        let _first = Daemon::run(&w);
        w.settle().await;
    }
    kill_over_and_over(&w, &load, 20).await;
    let _d = Daemon::run(&w);
    load.stop().await;
    w.settle().await;
    Load::equal(&w).await;
});

// A stop in order, too, comes in the middle of something.
both_logs!(twenty_sigterms, |w| {
    Load::prepare(&w).await;
    w.connector(Load::tables());
    expect_outages(&w);
    let load = Load::start(&w, 3);
    for round in 0..20 {
        let before = load.committed();
        let mut d = Daemon::run(&w);
        eventually("it is in the middle of it", PATIENCE, async || load.committed() > before + 300).await;
        tokio::time::sleep(Duration::from_millis(round * 7)).await;
        if round % 2 == 0 {
            d.term()
        } else {
            d.int()
        }
        assert_eq!(d.exit().await, 0, "{}", d.log());
    }
    let _d = Daemon::run(&w);
    load.stop().await;
    w.settle().await;
    Load::equal(&w).await;
});

both_logs!(sigkills_during_the_copy, |w| {
    Load::prepare(&w).await;
    w.both("create table big (id int primary key, v text)").await;
    w.source.batch("insert into big select g, repeat('b', 100) from generate_series(1, 300000) g").await;
    w.connector(&format!("[[table]]\nsource = 'public.big'\n{}", Load::tables()));
    expect_outages(&w);
    let load = Load::start(&w, 2);
    kill_over_and_over(&w, &load, 6).await;
    w.source.batch("update big set v = 'changed' where id % 1000 = 0; delete from big where id % 1000 = 1").await;
    let _d = Daemon::run(&w);
    load.stop().await;
    w.settle().await;
    Load::equal(&w).await;
    w.equal("table big").await;
});

async fn target_goes_away(log: Log, how: &'static str) {
    let w = World::own_target(how, log, &["synchronous_commit = off"]).await;
    Load::prepare(&w).await;
    w.connector(Load::tables());
    expect_outages(&w);
    let d = Daemon::run(&w);
    w.settle().await;
    let load = Load::start(&w, 3);
    let target = w.target_cluster.as_ref().unwrap();
    for _ in 0..3 {
        let before = load.committed();
        eventually("some traffic", PATIENCE, async || load.committed() > before + 100).await;
        match how {
            "crash" => target.kill9().await,
            mode => target.stop(mode).await,
        }
        let before = load.committed();
        eventually("the source goes on", PATIENCE, async || load.committed() > before + 50).await;
        target.start_again().await;
        w.settle().await;
    }
    assert!(d.is_running(), "the daemon has ended: {}", d.log());
    load.stop().await;
    w.settle().await;
    Load::equal(&w).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_target_restarts_in_mid_flight() {
    target_goes_away(Log::Local, "fast").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_target_restarts_in_mid_flight_kafka() {
    target_goes_away(Log::Kafka, "fast").await;
}

/// With asynchronous commits: what the target had not flushed is sent again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_target_crashes_in_mid_flight() {
    target_goes_away(Log::Local, "crash").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_target_crashes_in_mid_flight_kafka() {
    target_goes_away(Log::Kafka, "crash").await;
}

async fn source_goes_away(log: Log) {
    let w = World::own_source("source", log, &[]).await;
    Load::prepare(&w).await;
    w.connector(Load::tables());
    expect_outages(&w);
    let d = Daemon::run(&w);
    w.settle().await;
    let load = Load::start(&w, 3);
    let source = w.source_cluster.as_ref().unwrap();
    for how in ["fast", "immediate", "crash", "fast"] {
        let before = load.committed();
        eventually("some traffic", PATIENCE, async || load.committed() > before + 100).await;
        let start = Instant::now();
        match how {
            "crash" => source.kill9().await,
            mode => source.stop(mode).await,
        }
        assert!(start.elapsed() < Duration::from_secs(10), "we held up the source's {how} shutdown: {:?}", start.elapsed());
        source.start_again().await;
    }
    load.stop().await;
    w.settle().await;
    assert!(d.is_running(), "the daemon has ended: {}", d.log());
    Load::equal(&w).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_source_restarts_in_mid_flight() {
    source_goes_away(Log::Local).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_source_restarts_in_mid_flight_kafka() {
    source_goes_away(Log::Kafka).await;
}

/// A held flush position would hang it: the target is away, so nothing can be confirmed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_source_shuts_down_while_the_target_is_away() {
    let w = World::own_source("held", Log::Local, &[]).await;
    let proxy = Proxy::before(w.target.port).await;
    w.target_through(&proxy);
    w.both("create table t (id int primary key)").await;
    w.connector("[[table]]\nsource = 'public.t'");
    expect_outages(&w);
    let _d = Daemon::run(&w);
    w.settle().await;
    proxy.cut();
    w.source.batch("insert into t select generate_series(1, 1000)").await;
    let source = w.source_cluster.as_ref().unwrap();
    let start = Instant::now();
    source.stop("fast").await;
    assert!(start.elapsed() < Duration::from_secs(10), "we held up the source's shutdown: {:?}", start.elapsed());
    source.start_again().await;
    proxy.mend();
    w.settle().await;
    w.equal("table t").await;
}

/// Both halves may be away at the start: it waits, says so, and goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn databases_away_at_the_start() {
    let w = World::new("away").await;
    let (source, target) = (Proxy::before(w.source.port).await, Proxy::before(w.target.port).await);
    w.source_through(&source);
    w.target_through(&target);
    w.both("create table t (id int primary key)").await;
    w.source.batch("insert into t values (1)").await;
    w.connector("[[table]]\nsource = 'public.t'");
    expect_outages(&w);
    {
        let _first = Daemon::run(&w);
        w.settle().await;
    }
    w.source.batch("insert into t values (2)").await;
    source.cut();
    target.cut();
    let d = Daemon::run(&w);
    eventually("it says that it tries again", PATIENCE, async || d.log().contains("again") || d.log().contains("retry")).await;
    source.mend();
    target.mend();
    w.settle().await;
    assert!(d.is_running());
    w.equal("table t").await;
}

/// A line that is cut again and again, and one that falls silent: after a minute of silence the stream is opened anew.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lines_are_cut_and_fall_silent() {
    let w = World::new("lines").await;
    let (source, target) = (Proxy::before(w.source.port).await, Proxy::before(w.target.port).await);
    w.source_through(&source);
    w.target_through(&target);
    Load::prepare(&w).await;
    w.connector(Load::tables());
    expect_outages(&w);
    let d = Daemon::run(&w);
    w.settle().await;
    let load = Load::start(&w, 2);
    for line in [&source, &target, &source, &target] {
        let before = load.committed();
        eventually("some traffic", PATIENCE, async || load.committed() > before + 50).await;
        line.cut();
        line.mend();
    }
    w.settle().await;
    source.silence_open();
    load.stop().await;
    let end = w.source.text("select pg_current_wal_insert_lsn()").await;
    let held = async || w.cli("wait", &["--lsn", &end, "--timeout", "1s"]).await.code == 0;
    eventually("the stream is opened anew", Duration::from_secs(150), held).await;
    assert!(d.is_running());
    Load::equal(&w).await;
}
