//! What the daemon says of itself: `status`, the probes, the metrics.

use crate::both_logs;
use crate::support::{Cluster, Daemon, Db, Log, PATIENCE, World, eventually};
use serde_json::Value;

const TABLE: &str = "[[table]]\nsource = 'public.t'";

async fn world(name: &str) -> World {
    with_rows(World::new(name).await).await
}

async fn with_rows(w: World) -> World {
    w.both("create table t (id int primary key, v text)").await;
    w.source.batch("insert into t select g, 'first' from generate_series(1, 100) g").await;
    w.connector(TABLE);
    w
}

async fn follows(w: &World) {
    eventually("it follows", PATIENCE, async || is(&w.status().await, "/phase", "follow") && ready(w).await).await;
}

async fn ready(w: &World) -> bool {
    w.get("/readyz").await.is_some_and(|(code, _)| code == 200)
}

fn is(status: &Value, path: &str, word: &str) -> bool {
    status.pointer(path).and_then(Value::as_str) == Some(word)
}

fn holds(status: &Value, path: &str, word: &str) -> bool {
    status.pointer(path).and_then(Value::as_str).is_some_and(|text| text.contains(word))
}

#[tokio::test]
async fn a_connector_that_never_was_prepared() {
    let w = world("status-never").await;
    let said = w.cli("status", &[]).await.assert_code(1);
    assert!(said.stderr.contains("never prepared") && said.stderr.contains("hint: tablelift check"), "{said:?}");
    let said = w.cli("status", &["--json"]).await.assert_code(1);
    assert!(is(&said.json(), "/phase", "prepare") && said.json()["running"] == false, "{said:?}");
}

both_logs!(stopped_and_following, |w| {
    let w = with_rows(w).await;
    w.cli("prepare", &[]).await.assert_code(0);
    let status = w.status().await;
    assert!(is(&status, "/phase", "stopped") && status["running"] == false && status["streaming"].is_null(), "{status:#}");
    assert!(is(&status, "/tables/0/state", "copy") && status["target"]["consistent"] == false, "{status:#}");
    let mut d = Daemon::run(&w);
    follows(&w).await;
    w.source.batch("insert into t values (1001, 'b'); update t set v = 'c' where id < 3; delete from t where id = 9").await;
    w.settle().await;
    let status = w.status().await;
    let table = &status["tables"][0];
    assert_eq!((&table["inserts"], &table["updates"], &table["deletes"]), (&1.into(), &2.into(), &1.into()), "{status:#}");
    assert_eq!((&table["rows_copied"], &table["state"]), (&100.into(), &"follow".into()), "{status:#}");
    assert!(status["running"] == true && status["target"]["consistent"] == true, "{status:#}");
    for stage in ["end_to_end_ms", "capture_ms", "log_ms", "apply_ms"] {
        assert!(status["lag"][stage]["p99"].as_f64().is_some_and(|p99| p99 < 10_000.0), "{stage}: {status:#}");
    }
    assert_eq!(status["lag"]["end_to_end_ms"]["now"], 0.0, "{status:#}");
    assert_eq!(status["rereads"]["open"], 0);
    assert!(status["slo"].is_null() && status["letters"].is_null(), "{status:#}");
    let text = w.cli("status", &[]).await.assert_code(0).stdout;
    assert!(text.lines().all(|line| line.chars().count() <= 80) && text.contains("public.t"), "{text}");
    d.term();
    assert_eq!(d.exit().await, 0);
    let status = w.status().await;
    assert!(is(&status, "/phase", "stopped") && status["tables"][0]["inserts"].is_null(), "{status:#}");
});

// A table without a key is copied whole: what that took is recorded at its end.
both_logs!(a_copy_that_is_made_whole, |w| {
    w.both("create table t (id int, v text); alter table t replica identity full").await;
    w.source.batch("insert into t select g, 'first' from generate_series(1, 100) g").await;
    w.connector(TABLE);
    let _d = Daemon::run(&w);
    w.settle().await;
    let status = w.status().await;
    let table = &status["tables"][0];
    assert_eq!(
        (&table["rows_copied"], &table["copy"], &status["copies"]),
        (&100.into(), &Value::Null, &Value::Null),
        "{status:#}"
    );
    assert_eq!(table["bytes_copied"], (1..=100).map(|id| format!("{id}\tfirst\n").len()).sum::<usize>(), "{status:#}");
});

#[tokio::test]
async fn what_the_making_of_a_slot_waits_for() {
    let w = World::own_source("status-slot", Log::Local, &[]).await;
    w.both("create table t (id int primary key); create table u (id int primary key)").await;
    w.connector(TABLE);
    let open = w.source.session().await;
    let pid: i32 = open.query_one("select pg_backend_pid()", &[]).await.unwrap().get(0);
    open.batch_execute("set application_name = 'a person'; begin; select pg_current_xact_id()").await.unwrap();
    let mut d = Daemon::run(&w);
    let named = format!("pid {pid} (a person");
    eventually("`prepare` names it", PATIENCE, async || {
        let status = w.status().await;
        is(&status, "/phase", "prepare") && holds(&status, "/waiting_for", &named)
    })
    .await;
    assert!(!ready(&w).await);
    d.term();
    assert_eq!(d.exit().await, 0, "a stop does not wait for it");
    let d = Daemon::run(&w);
    eventually("it waits again", PATIENCE, async || w.status().await["waiting_for"].is_string()).await;
    open.batch_execute("commit").await.unwrap();
    follows(&w).await;
    open.batch_execute("begin; select pg_current_xact_id()").await.unwrap();
    w.connector(&format!("{TABLE}\n[[table]]\nsource = 'public.u'"));
    d.hup();
    eventually("`copy` names it", PATIENCE, async || {
        let status = w.status().await;
        is(&status, "/phase", "copy") && is(&status, "/tables/1/state", "copy") && holds(&status, "/tables/1/waiting_for", &named)
    })
    .await;
    assert!(ready(&w).await, "copying is ready");
    open.batch_execute("commit").await.unwrap();
    follows(&w).await;
    assert!(w.status().await["tables"][1]["waiting_for"].is_null());
}

both_logs!(who_holds_a_lock_on_the_target, |w| {
    let w = with_rows(w).await;
    let _d = Daemon::run(&w);
    follows(&w).await;
    // the first rows are not what is to wait
    w.settle().await;
    let other = w.target.session().await;
    let pid: i32 = other.query_one("select pg_backend_pid()", &[]).await.unwrap().get(0);
    other.batch_execute("set application_name = 'a person'; begin; lock table t").await.unwrap();
    w.source.batch("insert into t values (1001, 'b')").await;
    let named = format!("target pid {pid} (a person, idle in transaction, since");
    eventually("the holder is named", PATIENCE, async || {
        let status = w.status().await;
        let what = status.pointer("/tables/0/waiting_for").and_then(Value::as_str).unwrap_or_default().to_owned();
        what.starts_with(&named) && what.contains("a lock on public.t") && what.contains(&format!("pg_terminate_backend({pid})"))
    })
    .await;
    let lag = async || w.status().await["lag"]["end_to_end_ms"]["now"].as_f64();
    eventually("it grows", PATIENCE, async || lag().await.is_some_and(|now| now > 900.0)).await;
    other.batch_execute("commit").await.unwrap();
    w.settle().await;
    eventually("nobody any more", PATIENCE, async || w.status().await["tables"][0]["waiting_for"].is_null()).await;
});

both_logs!(metrics_are_the_interface, |w| {
    let w = with_rows(w).await;
    let _d = Daemon::run(&w);
    follows(&w).await;
    w.source.batch("insert into t values (1001, 'b')").await;
    w.settle().await;
    eventually("the gauges are set", PATIENCE, async || {
        let (_, text) = w.get("/metrics").await.unwrap();
        text.contains(&format!("tablelift_consistent{{connector=\"{}\"}} 1", w.name))
            && text.contains("tablelift_slot_retained_bytes{")
    })
    .await;
    let (code, text) = w.get("/metrics").await.unwrap();
    assert_eq!(code, 200);
    let name = &w.name;
    for series in [
        format!("tablelift_lag_seconds_bucket{{connector=\"{name}\",stage=\"capture\",le=\"0.0005\"}}"),
        format!("tablelift_lag_seconds_bucket{{connector=\"{name}\",stage=\"log\",le=\"3600\"}}"),
        format!("tablelift_lag_seconds_count{{connector=\"{name}\",stage=\"apply\"}}"),
        format!("tablelift_lag_seconds_count{{connector=\"{name}\",stage=\"end_to_end\"}}"),
        format!("tablelift_lag_now_seconds{{connector=\"{name}\"}} 0"),
        format!("tablelift_changes_total{{connector=\"{name}\",table=\"public.t\",stage=\"apply\",op=\"insert\"}} 1"),
        format!("tablelift_changes_total{{connector=\"{name}\",table=\"public.t\",stage=\"capture\",op=\"insert\"}} 1"),
        format!("tablelift_rows_copied_total{{connector=\"{name}\",table=\"public.t\"}} 100"),
        format!("tablelift_bytes_copied_total{{connector=\"{name}\",table=\"public.t\"}} "),
        format!("tablelift_copy_ratio{{connector=\"{name}\",table=\"public.t\"}} 1"),
        format!("tablelift_copy_eta_seconds{{connector=\"{name}\"}} 0"),
        format!("tablelift_after_load_open{{connector=\"{name}\"}} 0"),
        format!("tablelift_halted{{connector=\"{name}\"}} 0"),
        format!("tablelift_consistent{{connector=\"{name}\"}} 1"),
        format!("tablelift_rereads_open{{connector=\"{name}\"}} 0"),
        format!("tablelift_slot_retained_bytes{{connector=\"{name}\"}}"),
        format!("tablelift_slot_safe_bytes{{connector=\"{name}\"}}"),
        format!("tablelift_batch_rows_count{{connector=\"{name}\"}}"),
        format!("tablelift_target_commit_seconds_count{{connector=\"{name}\"}}"),
        format!("tablelift_up{{connector=\"{name}\"}} 1"),
    ] {
        assert!(text.contains(&series), "no `{series}` in\n{text}");
    }
    for later in ["letters_", "slo_"] {
        assert!(!text.contains(&format!("tablelift_{later}")), "`{later}` is not there yet");
    }
    assert_eq!(w.get("/healthz").await, Some((200, "ok\n".to_owned())));
    assert_eq!(w.get("/nothing").await.map(|(code, _)| code), Some(404));
});

#[tokio::test]
async fn a_halted_table_says_why() {
    let w = world("status-halted").await;
    w.target.batch("alter table t add check (v <> 'a secret')").await;
    w.expect_log("halted");
    let _d = Daemon::run(&w);
    follows(&w).await;
    w.source.batch("insert into t values (1001, 'a secret')").await;
    eventually("it is halted", PATIENCE, async || is(&w.status().await, "/tables/0/state", "halted")).await;
    let status = w.status().await;
    assert!(holds(&status, "/tables/0/halted_because", "23514") && status["tables"][0]["hint"].is_string(), "{status:#}");
    assert!(status["target"]["consistent"] == false && is(&status, "/phase", "follow"), "{status:#}");
    assert!(!status.to_string().contains("a secret"), "{status:#}");
    eventually("the metric says so", PATIENCE, async || {
        w.get("/metrics").await.is_some_and(|(_, text)| text.contains(&format!("tablelift_halted{{connector=\"{}\"}} 1", w.name)))
    })
    .await;
    assert!(ready(&w).await, "the others go on");
}

#[tokio::test]
async fn a_port_that_is_taken_stops_nothing() {
    let w = world("status-port").await;
    let taken = tokio::net::TcpListener::bind(("127.0.0.1", w.http)).await.unwrap();
    w.expect_log("cannot listen on");
    let d = Daemon::run(&w);
    d.logged("cannot listen on").await;
    w.settle().await;
    let status = w.status().await;
    assert!(is(&status, "/phase", "follow") && status["streaming"].is_null(), "{status:#}");
    drop(taken);
    eventually("it has the port", PATIENCE, async || ready(&w).await).await;
}

#[tokio::test]
async fn a_target_that_is_away() {
    let w = World::own_target("status-away", Log::Local, &[]).await;
    w.both("create table t (id int primary key)").await;
    w.connector(TABLE);
    w.expect_log("again");
    let mut d = Daemon::run(&w);
    follows(&w).await;
    cluster(&w).stop("immediate").await;
    eventually("it is not ready", PATIENCE, async || {
        w.get("/readyz").await.is_some_and(|(code, why)| code == 503 && why.contains("target: cannot reach the target"))
    })
    .await;
    assert_eq!(w.get("/healthz").await.map(|(code, _)| code), Some(200));
    // the command cannot ask the target either: the daemon knows what it saw last
    let said = w.cli("status", &["--json"]).await.assert_code(0).json();
    assert!(said["target"]["error"].is_string() && is(&said, "/tables/0/state", "follow"), "{said:#}");
    w.source.batch("insert into t values (1)").await;
    eventually("it says what it waits for", PATIENCE, async || {
        let said = w.status().await;
        said["streaming"] == false && holds(&said, "/waiting_for", "cannot reach the target")
    })
    .await;
    eventually("the lag grows", PATIENCE, async || {
        w.status().await["lag"]["end_to_end_ms"]["now"].as_f64().is_some_and(|now| now > 1000.0)
    })
    .await;
    cluster(&w).start_again().await;
    eventually("it goes on", PATIENCE, async || ready(&w).await).await;
    let (_, metrics) = w.get("/metrics").await.unwrap();
    assert!(metrics.contains(&format!("tablelift_retries_total{{connector=\"{}\",reason=\"target", w.name)), "{metrics}");
    d.term();
    assert_eq!(d.exit().await, 0);
    cluster(&w).stop("fast").await;
    let said = w.cli("status", &["--json"]).await.assert_code(0).json();
    assert!(said["phase"].is_null() && said["source"]["current_lsn"].is_string(), "{said:#}");
}

fn cluster(w: &World) -> &Cluster {
    w.target_cluster.as_ref().unwrap()
}

#[tokio::test]
async fn another_connectors_daemon_is_not_believed() {
    let w = world("status-other").await;
    let mut other = world("status-mine").await;
    other.http = w.http;
    other.connector(TABLE);
    let _d = Daemon::run(&w);
    follows(&w).await;
    other.cli("prepare", &[]).await.assert_code(0);
    let status = other.status().await;
    assert!(status["streaming"].is_null() && is(&status, "/phase", "stopped"), "{status:#}");
}

#[tokio::test]
async fn nothing_can_be_read() {
    let w = world("status-nothing").await;
    let nobody = Db::new(1, "nobody");
    *w.source_url.lock().unwrap() = nobody.url();
    *w.target_url.lock().unwrap() = nobody.url();
    w.connector(TABLE);
    let said = w.cli("status", &[]).await.assert_code(1);
    assert!(said.stderr.contains("cannot reach the source") && said.stderr.contains("cannot reach the target"), "{said:?}");
}
