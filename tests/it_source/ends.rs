//! How a stream ends, and how it does not.

use crate::support::{Log, PATIENCE, Proxy, World, eventually, steadily};
use crate::tap::{Tap, count, end_of, next, start};
use std::time::{Duration, Instant};
use tablelift::change::Feed;
use tablelift::fate::Fate;
use tablelift::source::{SourceError, emit_mark};
use tokio::time::sleep;

const TABLE: &str = "create table t (id int primary key, v text)";
/// More than all buffers between a walsender and a reader that stands still.
const PLENTY: &str = "insert into t select g, repeat(md5(g::text), 20) from generate_series(1, 100000) g";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_walsender_is_tried_again() {
    let tap = Tap::new("killed", TABLE).await;
    let mut reader = tap.read().await;
    tap.db().batch(PLENTY).await;
    next(&mut reader).await;
    tap.db()
        .text(&format!("select pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = '{}'", tap.slot))
        .await;
    let end = end_of(&mut reader).await;
    assert_eq!((end.sqlstate(), end.fate()), (Some("57P01"), Fate::Retry), "{end}");
    assert!(matches!(reader.next().await, Err(SourceError::Closed)), "and nothing more");

    eventually("the slot is free", PATIENCE, async || !tap.active().await).await;
    let mut reader = tap.read().await;
    emit_mark(&tap.db().session().await).await.unwrap();
    assert_eq!(count(&mut reader).await.0, 100_000);
}

/// The server hears of us while the consumer stands still, for four times as long as it would wait.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stalled_consumer_keeps_its_walsender() {
    let tap = Tap::new("stalled", TABLE).await;
    let mut config = tap.config();
    config.endpoint.options = Some("-c wal_sender_timeout=3s".into());
    config.silence = Duration::from_secs(3); // what is not read is not silence
    let mut reader = start(config).await.unwrap();
    tap.db().batch(PLENTY).await;
    emit_mark(&tap.db().session().await).await.unwrap();
    steadily("the slot is in use", Duration::from_secs(12), async || tap.active().await).await;
    assert_eq!(count(&mut reader).await.0, 100_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silence_ends_a_stream_and_a_server_that_answers_is_not_silent() {
    let tap = Tap::new("silent", TABLE).await;
    let proxy = Proxy::before(tap.db().port).await;
    let mut config = tap.config_through(proxy.port);
    config.silence = Duration::from_secs(3);
    let mut reader = start(config).await.unwrap();
    // Idle for longer than the limit: the server, which would say nothing for 30 s, answers when asked.
    let idle = async {
        loop {
            next(&mut reader).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(8), idle).await.unwrap_err();
    proxy.silence();
    let begun = Instant::now();
    let end = end_of(&mut reader).await;
    assert!(matches!(end, SourceError::Silent(_)) && end.fate() == Fate::Retry, "{end}");
    assert!(begun.elapsed() < Duration::from_secs(7), "{:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_line_loses_nothing() {
    let tap = Tap::new("slow_line", TABLE).await;
    let proxy = Proxy::before(tap.db().port).await;
    proxy.delay(Duration::from_millis(25));
    tap.db().batch(PLENTY).await;
    emit_mark(&tap.db().session().await).await.unwrap();
    let mut reader = start(tap.config_through(proxy.port)).await.unwrap();
    assert_eq!(count(&mut reader).await.0, 100_000);
    proxy.cut();
    assert_eq!(end_of(&mut reader).await.fate(), Fate::Retry);
}

async fn own(name: &str) -> Tap {
    Tap::within(World::own_source(name, Log::Local, &[]).await, TABLE).await
}

/// How long the source's fast shutdown takes.
async fn shutdown(tap: &Tap) -> Duration {
    let begun = Instant::now();
    tap.world.source_cluster.as_ref().unwrap().stop("fast").await;
    begun.elapsed()
}

/// Idle, everything confirmed: the source waits for nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_reader_does_not_hold_up_a_shutdown() {
    let tap = own("stop_idle").await;
    let mut reader = tap.read().await;
    let feedback = reader.feedback();
    let reading = tokio::spawn(async move {
        loop {
            match reader.next().await {
                Ok(feeds) => feeds.iter().for_each(|feed| match feed {
                    Feed::Commit { end, .. } | Feed::Keepalive { end } => feedback.confirm(*end),
                    _ => {}
                }),
                Err(error) => return error,
            }
        }
    });
    tap.db().batch("insert into t values (1, 'a')").await;
    sleep(Duration::from_secs(1)).await;
    let took = shutdown(&tap).await;
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert_eq!(reading.await.unwrap().fate(), Fate::Retry);
}

/// Everything read, nothing confirmed: the target has been away for long.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_position_held_back_does_not_hold_up_a_shutdown() {
    let tap = own("stop_held").await;
    let mut reader = tap.read().await;
    let reading = tokio::spawn(async move { end_of(&mut reader).await });
    for n in 0..10 {
        tap.db().batch(&format!("insert into t values ({n}, 'a')")).await;
        sleep(Duration::from_millis(200)).await;
    }
    let took = shutdown(&tap).await;
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert_eq!(reading.await.unwrap().fate(), Fate::Retry);
    tap.world.source_cluster.as_ref().unwrap().start_again().await;
    let mut reader = tap.read().await;
    emit_mark(&tap.db().session().await).await.unwrap();
    assert_eq!(count(&mut reader).await.0, 10, "all of it comes again");
}

/// The consumer stands still, all buffers are full, and the walsender has much more to send.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stalled_reader_does_not_hold_up_a_shutdown() {
    let tap = own("stop_stalled").await;
    let mut reader = tap.read().await;
    tap.db().batch(PLENTY).await;
    sleep(Duration::from_secs(3)).await;
    let took = shutdown(&tap).await;
    assert!(took < Duration::from_secs(8), "{took:?}");
    let end = end_of(&mut reader).await;
    assert!(matches!(end, SourceError::ShuttingDown) && end.fate() == Fate::Retry, "{end}");
    tap.world.source_cluster.as_ref().unwrap().start_again().await;
    let mut reader = tap.read().await;
    emit_mark(&tap.db().session().await).await.unwrap();
    assert_eq!(count(&mut reader).await.0, 100_000, "all of it comes again");
}

/// The sentinel's session is ended by an administrator, not by a shutdown: the stream goes on, and the next shutdown is still seen.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_sentinel_is_no_shutdown() {
    let tap = own("sentinel").await;
    let mut reader = tap.read().await;
    tap.db().batch(PLENTY).await;
    sleep(Duration::from_secs(2)).await;
    let sentinel = "from pg_stat_activity where application_name = 'test' and backend_type = 'client backend'";
    assert_eq!(tap.db().number(&format!("select count(pg_terminate_backend(pid)) {sentinel}")).await, 1);
    eventually("it is back", PATIENCE, async || tap.db().number(&format!("select count(*) {sentinel}")).await == 1).await;
    steadily("the stream goes on", Duration::from_secs(1), async || tap.active().await).await;
    let took = shutdown(&tap).await;
    assert!(took < Duration::from_secs(8), "{took:?}");
    assert!(matches!(end_of(&mut reader).await, SourceError::ShuttingDown));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropping_the_reader_frees_the_slot_at_once() {
    let tap = Tap::new("dropped", TABLE).await;
    tap.db().batch(PLENTY).await;
    for stalled in [false, true] {
        let mut reader = tap.read().await;
        next(&mut reader).await;
        if stalled {
            sleep(Duration::from_secs(2)).await;
        }
        drop(reader);
        eventually("the slot is free", Duration::from_secs(5), async || !tap.active().await).await;
    }
    let ours = "select count(*) from pg_stat_activity where application_name = 'test' and datname = current_database()";
    eventually("no session of ours is left", Duration::from_secs(5), async || tap.db().number(ours).await == 0).await;
}
