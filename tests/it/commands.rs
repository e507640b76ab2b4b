//! The commands as a person and a script meet them: exit statuses, findings, secrets, standbys, `drop`.

use crate::both_logs;
use crate::support::{Daemon, Log, PATIENCE, World, eventually, steadily, tablelift};
use std::time::{Duration, Instant};

#[tokio::test]
async fn wrong_commands_end_with_2() {
    for args in [
        &[][..],
        &["nonsense"],
        &["check"],
        &["run", "x.toml", "--nonsense"],
        &["wait", "x.toml", "--lsn", "nonsense"],
        &["plan", "x.toml", "--sample", "0"],
        &["plan", "x.toml", "--sample", "some"],
        &["plan", "x.toml", "--sample"],
        &["plan", "x.toml", "--show-values"],
        &["check", "/nonexistent/x.toml"],
    ] {
        let out = tablelift(args).await;
        assert_eq!(out.code, 2, "{args:?}: {out:#?}");
        assert!(out.stdout.is_empty() && !out.stderr.is_empty(), "{args:?}: {out:#?}");
    }
    assert_eq!(tablelift(&["--help"]).await.code, 0);
}

#[tokio::test]
async fn wrong_files_end_with_2_and_all_mistakes() {
    let w = World::new("wrongfile").await;
    let file = "name = 'Not A Name'\nnonsense = 1\n[source]\nurl = 'postgres://x'\n[target]\nurll = 'postgres://y'\n[log]\nkind = 'paper'\n[[table]]\nsource = 7\n";
    std::fs::write(w.config_file(), file).unwrap();
    for command in ["check", "plan", "prepare", "run", "wait", "status", "drop"] {
        let out = w.cli(command, &[]).await.assert_code(2);
        for mistake in ["Not A Name", "nonsense", "urll", "paper", "source"] {
            assert!(out.stderr.contains(mistake), "{command} does not tell `{mistake}`: {out:#?}");
        }
        assert!(out.stderr.contains("connector.toml:2:1"), "no line and column: {out:#?}");
    }
}

both_logs!(secrets_stay_secret, |w| {
    w.both("create table t (id int primary key, v text)").await;
    let secret = "Tr0ub4dor";
    let with_password = |url: String| url.replace("postgres://postgres@", &format!("postgres://postgres:{secret}@"));
    let (source, target) = (with_password(w.source.url()), with_password(w.target.url()));
    *w.source_url.lock().unwrap() = source;
    *w.target_url.lock().unwrap() = target;
    w.connector("[[table]]\nsource = 'public.t'");
    w.expect_log("again");
    let d = Daemon::start(&w, "run", &["-v", "-v"]);
    w.settle().await;
    w.source.batch("insert into t values (1, 'Geheimnis')").await;
    w.settle().await;
    let line = std::fs::read_to_string(format!("/proc/{}/cmdline", d.pid())).unwrap();
    let mut told = vec![("the process list", line), ("the log", d.log())];
    for (command, options) in
        [("check", &[][..]), ("check", &["--json"]), ("plan", &[]), ("status", &[]), ("status", &["--json"]), ("prepare", &[])]
    {
        told.push((command, w.cli(command, options).await.all()));
    }
    for path in ["/status", "/metrics", "/", "/healthz"] {
        told.push((path, w.get(path).await.map(|(_, body)| body).unwrap_or_default()));
    }
    for (what, text) in told {
        assert!(!text.contains(secret), "{what} shows the password: {text}");
        assert!(!text.contains("Geheimnis"), "{what} shows a row's value: {text}");
    }
});

both_logs!(a_second_run_waits_as_a_standby, |w| {
    w.both("create table t (id int primary key, v text)").await;
    w.connector("[[table]]\nsource = 'public.t'");
    for text in ["slot", "standby", "wait", "again", "hold", "listen", "port", "address"] {
        w.expect_log(text);
    }
    let first = Daemon::run(&w);
    w.settle().await;
    let second = Daemon::run(&w);
    let pid = w
        .source
        .text(&format!(
            "select active_pid from pg_replication_slots where slot_name like '{}%' and active limit 1",
            w.object_name()
        ))
        .await;
    eventually("it says who holds the slot", PATIENCE, async || second.log().contains(&pid) || second.log().contains("stand"))
        .await;
    w.source.batch("insert into t values (1, 'first')").await;
    w.settle().await;
    steadily("the standby waits", Duration::from_millis(500), async || second.is_running()).await;
    first.kill9();
    w.source.batch("insert into t values (2, 'second')").await;
    w.settle().await;
    w.equal("table t").await;
});

both_logs!(drop_removes_what_it_made, |w| {
    w.both("create table t (id int primary key, v text); create table k (v int)").await;
    w.source.batch("insert into t values (1, 'x')").await;
    w.connector("[[table]]\nsource = 'public.t'\n[[table]]\nsource = 'public.k'\ninsert_only = true");
    let mut d = Daemon::run(&w);
    w.settle().await;
    let refused = w.cli("drop", &["--yes"]).await.assert_code(1);
    assert!(refused.stderr.contains("hint:"), "{refused:#?}");
    d.term();
    assert_eq!(d.exit().await, 0);
    drop(d);
    // Without a yes, and nobody to ask, nothing happens.
    assert_ne!(w.cli("drop", &[]).await.code, 0);
    let slots = format!("select count(*) from pg_replication_slots where slot_name like '{}%'", w.object_name());
    let publications = "select count(*) from pg_publication";
    assert_ne!(w.source.text(&slots).await, "0");
    let options: &[&str] = if w.log == Log::Kafka { &["--yes", "--topics"] } else { &["--yes"] };
    w.cli("drop", options).await.assert_code(0);
    assert_eq!(w.source.text(&slots).await, "0");
    assert_eq!(w.source.text(publications).await, "0");
    assert_eq!(w.target.text("table t").await, "1|x", "target data is never dropped");
    // Twice does no harm, and after it one can begin again.
    w.cli("drop", options).await.assert_code(0);
    w.target.batch("truncate t").await;
    w.cli("run", &["--endpos", "current"]).await.assert_code(0);
    w.equal("table t").await;
});

both_logs!(prepare_may_be_repeated, |w| {
    w.both("create table t (id int primary key)").await;
    w.connector("[[table]]\nsource = 'public.t'");
    w.cli("check", &[]).await.assert_code(0);
    assert_eq!(
        w.source.text("select (select count(*) from pg_publication), to_regnamespace('tablelift') is null").await,
        "0|t",
        "check changes nothing"
    );
    w.cli("plan", &[]).await.assert_code(0);
    assert_eq!(w.target.text("select to_regnamespace('tablelift') is null").await, "t", "plan changes nothing");
    for _ in 0..2 {
        w.cli("prepare", &[]).await.assert_code(0);
    }
    w.source.batch("insert into t values (1)").await;
    w.cli("run", &["--endpos", "current"]).await.assert_code(0);
    w.cli("prepare", &[]).await.assert_code(0);
    w.equal("table t").await;
});

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wait_keeps_its_time_limit() {
    let w = World::new("limit").await;
    w.both("create table t (id int primary key)").await;
    w.connector("[[table]]\nsource = 'public.t'");
    w.cli("prepare", &[]).await.assert_code(0);
    let start = Instant::now();
    w.cli("wait", &["--lsn", "current", "--timeout", "1s"]).await.assert_code(1);
    assert!((1..10).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
}

// An idle source keeps nobody waiting.
both_logs!(wait_on_an_idle_source, |w| {
    w.both("create table t (id int primary key)").await;
    w.connector("[[table]]\nsource = 'public.t'");
    let _d = Daemon::run(&w);
    w.settle().await;
    let start = Instant::now();
    for _ in 0..5 {
        w.settle().await;
    }
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
});

both_logs!(signals_end_it_in_order, |w| {
    w.both("create table t (id int primary key)").await;
    w.connector("[[table]]\nsource = 'public.t'");
    for signal in ["term", "int"] {
        let mut d = Daemon::run(&w);
        // the target holds everything before the second one has begun
        eventually("it streams", PATIENCE, async || w.status().await["streaming"] == true).await;
        let start = Instant::now();
        if signal == "term" {
            d.term()
        } else {
            d.int()
        }
        assert_eq!(d.exit().await, 0, "{signal}: {}", d.log());
        assert!(start.elapsed() < Duration::from_secs(10), "{signal}: {:?}", start.elapsed());
    }
});

both_logs!(a_foreign_slot_position_is_refused, |w| {
    w.both("create table t (id int primary key)").await;
    w.connector("[[table]]\nsource = 'public.t'");
    let mut d = Daemon::run(&w);
    w.settle().await;
    d.term();
    d.exit().await;
    drop(d);
    w.source.batch("insert into t values (1)").await;
    let slot = w
        .source
        .text(&format!("select slot_name from pg_replication_slots where slot_name like '{}%' limit 1", w.object_name()))
        .await;
    eventually("the slot is free", PATIENCE, async || {
        w.source.try_batch(&format!("select pg_replication_slot_advance('{slot}', pg_current_wal_lsn())")).await.is_ok()
    })
    .await;
    w.expect_log("slot");
    let out = w.cli("run", &["--endpos", "current"]).await.assert_code(1);
    assert!(out.stderr.contains("hint:") && out.stderr.contains(&slot), "{out:#?}");
    w.source.batch(&format!("select pg_drop_replication_slot('{slot}')")).await;
    let out = w.cli("run", &["--endpos", "current"]).await.assert_code(1);
    assert!(out.stderr.contains("hint:") && out.stderr.contains(&slot), "{out:#?}");
});

both_logs!(one_owner_for_each_target_table, |w| {
    w.both("create table t (id int primary key)").await;
    w.connector("[[table]]\nsource = 'public.t'");
    w.cli("run", &["--endpos", "current"]).await.assert_code(0);
    let text = std::fs::read_to_string(w.config_file()).unwrap();
    std::fs::write(w.config_file(), text.replacen(&w.name, &format!("{}b", w.name), 1)).unwrap();
    let out = w.cli("check", &[]).await.assert_code(1);
    assert!(out.stdout.contains(&w.name), "it does not say who owns it: {out:#?}");
    w.cli("run", &["--endpos", "current"]).await.assert_code(1);
});

both_logs!(status_tells_how_it_stands, |w| {
    w.both("create table t (id int primary key, v text)").await;
    w.source.batch("insert into t select g, 'x' from generate_series(1, 100) g").await;
    w.connector("[[table]]\nsource = 'public.t'");
    assert_eq!(w.status().await["phase"], "prepare");
    let mut d = Daemon::run(&w);
    w.settle().await;
    w.source.batch("insert into t values (101, 'y'); update t set v = 'z' where id = 1; delete from t where id = 2").await;
    w.settle().await;
    let status = w.status().await;
    assert_eq!(status["connector"], w.name.as_str());
    assert_eq!((&status["running"], &status["phase"]), (&true.into(), &"follow".into()), "{status:#}");
    assert_eq!(status["target"]["consistent"], true, "{status:#}");
    assert!(status["source"]["retained_wal_bytes"].is_i64() && status["source"]["confirmed_lsn"].is_string(), "{status:#}");
    let table = w.table("public.t").await;
    assert_eq!((&table["state"], &table["target"]), (&"follow".into(), &"public.t".into()));
    assert_eq!(table["rows_copied"], 100);
    assert_eq!((&table["inserts"], &table["updates"], &table["deletes"]), (&1.into(), &1.into(), &1.into()), "{table:#}");
    for null in ["/slo/attained", "/letters/open"] {
        assert!(status.pointer(null).is_none_or(|v| v.is_null() || v.is_number()), "{null}: {status:#}");
    }
    let (code, body) = w.get("/status").await.expect("it listens");
    assert_eq!(
        (code, serde_json::from_str::<serde_json::Value>(&body).unwrap()["connector"].clone()),
        (200, w.name.as_str().into())
    );
    assert_eq!(w.get("/healthz").await.unwrap().0, 200);
    assert_eq!(w.get("/readyz").await.unwrap().0, 200);
    let metrics = w.get("/metrics").await.unwrap().1;
    for name in [
        "tablelift_up",
        "tablelift_lag_seconds",
        "tablelift_changes_total",
        "tablelift_rows_copied_total",
        "tablelift_halted",
        "tablelift_consistent",
        "tablelift_slot_retained_bytes",
    ] {
        assert!(metrics.contains(name), "{name} is not in\n{metrics}");
    }
    d.term();
    d.exit().await;
    let status = w.status().await;
    assert_eq!((&status["running"], &status["phase"]), (&false.into(), &"stopped".into()), "{status:#}");
});

/// A port that is taken never stops the daemon.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_taken() {
    let w = World::new("port").await;
    let _taken = std::net::TcpListener::bind(("127.0.0.1", w.http)).unwrap();
    w.both("create table t (id int primary key)").await;
    w.connector("[[table]]\nsource = 'public.t'");
    w.expect_log(&w.http.to_string());
    let d = Daemon::run(&w);
    w.source.batch("insert into t values (1)").await;
    w.settle().await;
    w.equal("table t").await;
    d.logged(&w.http.to_string()).await;
}

const SAMPLED: &str = r#"
[[table]]
source = "public.orders"
where = "qty >= 0"
ignore = ["unused"]
[table.columns]
label = "upper(name) || '-' || id"
total = "qty * price"
ratio = "CASE WHEN id < 100 THEN 100 / qty END"
kind = "'web'"
[[table]]
source = "public.plain"
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sample_of_the_mapping() {
    let w = World::new("sampled").await;
    w.source
        .batch(
            "create table orders (id int primary key, name text, qty int, price numeric, note text, unused date);
             insert into orders values (2, 'Bea Geheim', 0, 1, 'a', null), (1, 'Anna Geheim', 3, 1.255, null, '2026-01-02'),
               (3, 'Cid Geheim', -1, 1, 'b', null), (4, null, 5, 999999, 'too long', null), (5, 'Dora', 1, 1, '', null)",
        )
        .await;
    let target = "create table orders (id bigint primary key, label text not null, total numeric(8,2), ratio int, kind text, note varchar(5))";
    w.target.batch(target).await;
    w.both("create table plain (v text); alter table plain replica identity full").await;
    w.source.batch("insert into plain values (repeat('x', 1000))").await;
    w.connector(SAMPLED);
    let before = w.target.text("select count(*) from pg_class").await;

    let hidden = w.cli("plan", &["--sample", "4"]).await.assert_code(1);
    assert!(!hidden.all().contains("Geheim") && !hidden.all().contains("GEHEIM"), "values are told: {hidden:#?}");
    for text in [
        "public.orders -> public.orders\n  its first 4 rows, in the order of `id`\n  where qty >= 0\n",
        "<text, 11 bytes>",
        "unused  <date, 10 bytes>    not used\n",
        "<numeric(8,2), 4 bytes>  = qty * price\n",
        "note   NULL\n",
        "error   column `ratio`, which is filled by `CASE WHEN id < 100 THEN 100 / qty END`: an expression divides by zero (SQLSTATE 22012); \
         the row's key is `id`\n",
        "row 3: left out by where\n",
        "error   column `total`, which is filled by `qty * price`: a number is out of the column's range (SQLSTATE 22003); the row's key is `id`\n",
        "error   column `note`: a value is too long for its column (SQLSTATE 22001); the row's key is `id`\n",
        "public.plain -> public.plain\n  its first row, in no order, for it has no key\n",
        "5 rows of 2 tables: 2 as shown, 1 left out, 2 refused; nothing was written\n",
    ] {
        assert!(hidden.stdout.contains(text), "no {text:?} in\n{}", hidden.stdout);
    }

    let shown = w.cli("plan", &["--sample", "4", "--show-values"]).await.assert_code(1);
    for text in [
        "name    Anna Geheim\n",
        "label  ANNA GEHEIM-1  = upper(name) || '-' || id\n",
        "total  3.77           = qty * price\n",
        "ratio  33             = CASE",
        "kind   web            = 'web'\n",
        "division by zero (SQLSTATE 22012); the row's key is `id` = 2\n",
        &format!("v  {}… (cut: 800 characters more)\n", "x".repeat(200)),
    ] {
        assert!(shown.stdout.contains(text), "no {text:?} in\n{}", shown.stdout);
    }

    let json = w.cli("plan", &["--sample", "4", "--json"]).await.assert_code(1).json();
    let rows = &json["tables"][0]["rows"];
    let outcomes: Vec<&str> = rows.as_array().unwrap().iter().map(|row| row["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes, ["written", "failed", "left_out", "failed"]);
    assert_eq!((&rows[0]["target"][0]["bytes"], &rows[0]["target"][0]["value"]), (&13.into(), &serde_json::Value::Null));

    // one that is NULL where it must not be is the row's only fault
    w.source.batch("update orders set qty = 1, price = 1, note = '' where id = 4").await;
    let null = w.cli("plan", &["--sample", "4"]).await.assert_code(1);
    let said = "error   column `label`, which is filled by `upper(name) || '-' || id`: a value is null and the column is NOT NULL (SQLSTATE 23502)";
    assert!(null.stdout.contains(said), "{}", null.stdout);

    w.source.batch("update orders set qty = 1, name = 'x' where id in (2, 4)").await;
    w.cli("plan", &["--sample", "9", "--show-values"]).await.assert_code(0);
    assert_eq!(w.target.text("select count(*) from pg_class").await, before);
    assert_eq!(w.target.text("select count(*) from orders").await, "0", "a sample writes nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sample_of_a_table_that_is_still_to_be_made() {
    let w = World::new("sampledmade").await;
    w.source.batch("create type mood as enum ('sad', 'glad'); create table t (id int primary key, m mood)").await;
    w.source.batch("insert into t values (1, 'glad')").await;
    w.connector_with(|f| f.target += "create = \"missing\"\n", "[[table]]\nsource = 'public.t'");
    let out = w.cli("plan", &["--sample", "1", "--show-values"]).await.assert_code(0);
    assert!(out.stdout.contains("    target  id  1\n            m   glad\n"), "{}", out.stdout);
    assert_eq!(w.target.text("select to_regclass('t') is null, to_regtype('mood') is null").await, "t|t");
}
