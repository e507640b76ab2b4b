//! `check` and `plan` against real servers: each thing that can be wrong is made wrong, and found with its cure.

use crate::both_logs;
use crate::support::{Cluster, Daemon, Db, Log, Output, PATIENCE, Side, World, eventually};
use serde_json::Value;
use std::time::Duration;

/// `check --json`, its exit status held against what it says.
pub async fn check(w: &World) -> Findings {
    let output = w.cli("check", &["--json"]).await;
    let report = output.json();
    let findings = report["findings"].as_array().unwrap().clone();
    let errors = findings.iter().filter(|finding| finding["level"] == "error").count();
    assert_eq!((output.code, &report["ok"]), if errors > 0 { (1, &Value::Bool(false)) } else { (0, &Value::Bool(true)) });
    Findings(findings)
}

pub struct Findings(pub Vec<Value>);

impl Findings {
    pub fn errors(&self) -> Vec<&str> {
        let errors = self.0.iter().filter(|finding| finding["level"] == "error");
        errors.map(|finding| finding["code"].as_str().unwrap()).collect()
    }

    #[track_caller]
    pub fn one(&self, code: &str) -> &Value {
        self.0.iter().find(|finding| finding["code"] == code).unwrap_or_else(|| panic!("no {code} in {:#?}", self.0))
    }

    #[track_caller]
    pub fn remedy(&self, code: &str) -> String {
        self.one(code)["remedy"]["text"].as_str().unwrap_or_else(|| panic!("{code} has no remedy")).to_owned()
    }

    #[track_caller]
    pub fn what(&self, code: &str) -> String {
        self.one(code)["what"].as_str().unwrap().to_owned()
    }

    pub fn has(&self, code: &str) -> bool {
        self.0.iter().any(|finding| finding["code"] == code)
    }
}

/// A role of this test, on a database of it, with a connector that uses it.
pub async fn role(db: &Db, w: &World, side: &str, attributes: &str) -> (String, String) {
    let role = format!("{}_{side}", w.name.replace('-', "_"));
    db.batch(&format!("create role {role} login {attributes}")).await;
    (role.clone(), db.url().replace("postgres@", &format!("{role}@")))
}

#[tokio::test]
async fn nothing_is_wrong_with_a_plain_pair() {
    let w = World::new("plain").await;
    w.both("create table t (id int primary key, v text)").await;
    w.connector("[[table]]\nsource = 'public.t'");
    let found = check(&w).await;
    assert_eq!(found.errors(), [""; 0], "{:#?}", found.0);
    let output = w.cli("check", &[]).await.assert_code(0);
    assert!(
        output.stdout.ends_with("no errors, no warnings, 1 note\n") || output.stdout.contains("no errors"),
        "{}",
        output.stdout
    );
    for (db, what) in [(&w.source, "pg_publication"), (&w.target, "pg_namespace where nspname = 'tablelift'")] {
        assert_eq!(db.text(&format!("select count(*) from {what}")).await, "0");
    }
}

#[tokio::test]
async fn a_side_that_is_away_is_named_and_the_other_still_checked() {
    let w = World::new("away").await;
    w.source.batch("create table t (id int primary key)").await;
    *w.target_url.lock().unwrap() = "postgres://postgres@127.0.0.1:1/nowhere".into();
    w.connector("[[table]]\nsource = 'public.t'\n[[table]]\nsource = 'public.missing'");
    let found = check(&w).await;
    assert_eq!(found.errors(), ["target.unreachable", "table.source_missing"]);
    *w.source_url.lock().unwrap() = w.source.url().replace("away", "none");
    w.connector("[[table]]\nsource = 'public.t'");
    assert_eq!(check(&w).await.errors(), ["source.unreachable", "target.unreachable"]);
}

#[tokio::test]
async fn settings_of_the_source() {
    let w =
        World::own_source("settings", Log::Local, &["wal_level = replica", "max_replication_slots = 1", "max_wal_senders = 1"])
            .await;
    w.both("create table t (id int primary key)").await;
    w.connector("[[table]]\nsource = 'public.t'");
    let found = check(&w).await;
    assert_eq!(found.errors(), ["source.wal_level", "source.no_free_slot", "source.no_free_walsender"]);
    assert!(found.remedy("source.wal_level").starts_with("ALTER SYSTEM SET wal_level = 'logical';"));
    assert!(found.what("source.no_free_slot").contains("none for the copy"));
    w.source.batch(&found.remedy("source.wal_level")).await;
    w.source.batch(&found.remedy("source.no_free_slot")).await;
    w.source.batch(&found.remedy("source.no_free_walsender")).await;
    w.source_cluster.as_ref().unwrap().restart("fast").await;
    assert_eq!(check(&w).await.errors(), [""; 0]);
    w.source.batch("select pg_create_logical_replication_slot('s' || n, 'pgoutput') from generate_series(1, 6) n").await;
    let found = check(&w).await;
    assert_eq!(found.errors(), ["source.no_free_slot"]);
    assert!(found.remedy("source.no_free_slot").contains("-- SELECT pg_drop_replication_slot('s1');"));
}

#[tokio::test]
async fn slots_that_do_not_fit() {
    let w = World::new("slots").await;
    w.both("create table t (id int primary key)").await;
    let slot = format!("{}_own", w.object_name());
    w.connector_with(|f| f.source += &format!("slot = '{slot}'\n"), "[[table]]\nsource = 'public.t'");
    for (sql, code) in [
        ("pg_create_logical_replication_slot('{}', 'test_decoding')", "source.slot_plugin"),
        ("pg_create_physical_replication_slot('{}')", "source.slot_plugin"),
        ("pg_create_logical_replication_slot('{}', 'pgoutput', false, true)", "source.slot_two_phase"),
    ] {
        w.source.batch(&format!("select {}", sql.replace("{}", &slot))).await;
        assert_eq!(check(&w).await.errors(), [code], "{sql}");
        w.source.batch(&format!("select pg_drop_replication_slot('{slot}')")).await;
    }
    let other = Db::new(w.source.port, "postgres");
    other.batch(&format!("select pg_create_logical_replication_slot('{slot}', 'pgoutput')")).await;
    let found = check(&w).await;
    other.batch(&format!("select pg_drop_replication_slot('{slot}')")).await;
    assert_eq!(found.errors(), ["source.slot_database"]);
}

#[tokio::test]
async fn sessions_that_are_limited() {
    let w = World::new("sessions").await;
    w.both("create table t (id int primary key)").await;
    let (source, url) = role(&w.source, &w, "mover", "replication connection limit 5").await;
    *w.source_url.lock().unwrap() = url;
    w.source.batch(&format!("grant all on all tables in schema public to {source}")).await;
    let (target, url) = role(&w.target, &w, "writer", "").await;
    *w.target_url.lock().unwrap() = url;
    w.target.batch(&format!("alter database {} connection limit 6; grant all on t to {target}", w.target.name)).await;
    w.connector("[[table]]\nsource = 'public.t'");
    let found = check(&w).await;
    assert!(found.what("source.no_free_connection").contains("of 5 sessions of the role"), "{:#?}", found.0);
    assert!(found.what("target.no_free_connection").contains("of 6 sessions of the database"), "{:#?}", found.0);
    w.source.batch(&found.remedy("source.no_free_connection")).await;
    w.target.batch(&found.remedy("target.no_free_connection")).await;
    let found = check(&w).await;
    assert!(!found.0.iter().any(|one| one["code"].as_str().unwrap().ends_with("no_free_connection")), "{:#?}", found.0);
}

// What `check` counts with is what is opened.
both_logs!(as_many_sessions_as_were_said, |w| {
    w.both("create table t (id int primary key, v text); create table feed (v text)").await;
    w.source.batch("alter table feed replica identity full; insert into feed select 'v' from generate_series(1, 1000)").await;
    w.source.batch("insert into t select g, repeat('v', 500) from generate_series(1, 20000) g").await;
    w.connector("[copy]\nmax_rows_per_second = 5000\n[[table]]\nsource = 'public.t'\n[[table]]\nsource = 'public.feed'");
    let _d = Daemon::run(&w);
    let sql = format!(
        "select count(*) from pg_stat_activity where application_name like '{}%' and backend_type = 'client backend'",
        w.object_name()
    );
    let most = std::sync::Mutex::new((0, 0));
    eventually("it follows", PATIENCE, async || {
        let now = (w.source.number(&sql).await, w.target.number(&sql).await);
        {
            let mut most = most.lock().unwrap();
            *most = (most.0.max(now.0), most.1.max(now.1));
        }
        let status = w.status().await;
        let tables = status["tables"].as_array().unwrap();
        !tables.is_empty() && tables.iter().all(|table| table["state"] == "follow")
    })
    .await;
    let most = most.into_inner().unwrap();
    assert!(most.0 > 2 && most.1 > 2 && most.0 <= 10 && most.1 <= 10, "{most:?}");
});

#[tokio::test]
async fn transactions_that_stall_the_slot() {
    let w = World::own_source("stall", Log::Local, &["max_prepared_transactions = 5"]).await;
    w.both("create table t (id int primary key)").await;
    w.connector("[[table]]\nsource = 'public.t'");
    let open = w.source.session().await;
    open.batch_execute("set application_name = 'batch job'; begin; insert into t values (1)").await.unwrap();
    let reader = w.source.session().await;
    reader.batch_execute("begin isolation level repeatable read; select * from t").await.unwrap();
    w.source.batch("begin; insert into t values (2); prepare transaction 'left''behind'").await;
    assert!(!check(&w).await.has("source.open_transaction"));
    tokio::time::sleep(Duration::from_millis(5200)).await;
    let found = check(&w).await;
    assert_eq!(found.errors(), ["source.prepared_transaction"]);
    assert!(found.what("source.open_transaction").contains("`batch job`"));
    assert_eq!(found.0.iter().filter(|finding| finding["code"] == "source.open_transaction").count(), 1);
    assert!(found.what("source.prepared_transaction").contains("`left'behind`"));
    let ends = found.remedy("source.prepared_transaction");
    w.source.batch(ends.lines().next().unwrap()).await;
    w.source.batch(&found.remedy("source.open_transaction")).await;
    let found = check(&w).await;
    assert!(!found.has("source.open_transaction") && !found.has("source.prepared_transaction"));
}

#[tokio::test]
async fn rights_on_the_target() {
    let w = World::new("target-rights").await;
    w.both("create table t (id int primary key)").await;
    let (role, url) = role(&w.target, &w, "writer", "").await;
    w.target.batch(&format!("revoke temporary on database {} from public", w.target.name)).await;
    *w.target_url.lock().unwrap() = url;
    w.connector("[[table]]\nsource = 'public.t'");
    let found = check(&w).await;
    assert_eq!(found.errors(), ["target.schema_right", "target.temporary", "target.triggers", "table.target_right"]);
    if Side::Target.major() < 15 {
        assert!(found.remedy("target.triggers").starts_with("ALTER ROLE"));
        return; // and a superuser may do all the rest
    }
    assert!(found.remedy("target.triggers").starts_with("GRANT SET ON PARAMETER session_replication_role TO"));
    let schema = found.remedy("target.schema_right");
    w.target.batch(schema.lines().next().unwrap()).await;
    for code in ["target.temporary", "target.triggers", "table.target_right", "target.origin"] {
        w.target.batch(&found.remedy(code)).await;
    }
    let found = check(&w).await;
    assert_eq!(found.errors(), [""; 0], "{:#?}", found.0);
    assert!(!found.has("target.origin"));
    w.target.batch(&found.remedy("table.target_truncate")).await;
    assert!(!check(&w).await.has("table.target_truncate"));
    w.target.batch("alter schema tablelift owner to postgres; alter table t enable row level security").await;
    let found = check(&w).await;
    assert_eq!(found.errors(), ["target.schema_right", "table.target_row_security"]);
    w.target.batch(&found.remedy("table.target_row_security")).await;
    w.target.batch(&found.remedy("target.schema_right")).await;
    assert_eq!(check(&w).await.errors(), [""; 0]);
    w.target.batch(&format!("revoke set on parameter session_replication_role from {role}")).await;
    w.connector_with(|f| f.target += "triggers = 'fire'\n", "[[table]]\nsource = 'public.t'");
    assert_eq!(check(&w).await.errors(), [""; 0]);
}

#[tokio::test]
async fn tables_that_cannot_be_lifted() {
    let w = World::new("unfit").await;
    w.source
        .batch(
            "create unlogged table u (id int primary key); create view v as select 1 as id; create table \"Orders\" (id int primary key);
             create table nothing (id int); create table stale (id int primary key); alter table stale replica identity nothing;
             create table loose (id int unique); alter table loose replica identity full",
        )
        .await;
    w.target
        .batch(
            "create table u (id int primary key); create table v (id int primary key); create table nothing (id int);
             create table stale (id int primary key); create table loose (id int)",
        )
        .await;
    let entry = |name: &str| format!("[[table]]\nsource = 'public.{name}'\n");
    w.connector(&["u", "v", "orders", "nothing", "stale", "loose"].map(entry).concat());
    let found = check(&w).await;
    let errors = found.errors();
    for code in ["table.unlogged", "table.not_a_table", "table.source_missing", "table.no_key", "table.identity_nothing"] {
        assert!(errors.contains(&code), "{code}: {errors:?}");
    }
    assert_eq!(found.remedy("table.source_missing"), "source = 'public.\"Orders\"'");
    w.source.batch(&found.remedy("table.unlogged")).await;
    w.source.batch(&found.remedy("table.no_key")).await;
    w.source.batch(&found.remedy("table.identity_nothing")).await;
    w.target.batch("create table \"Orders\" (id int primary key)").await;
    w.connector(&["u", "\"Orders\"", "nothing", "stale", "loose"].map(entry).concat());
    let found = check(&w).await;
    assert_eq!(found.errors(), [""; 0]);
    assert_eq!(found.0.iter().filter(|finding| finding["code"] == "table.keyless").count(), 2);
}

#[tokio::test]
async fn partition_trees() {
    let w = World::new("trees").await;
    w.source
        .batch(
            "create extension file_fdw; create server f foreign data wrapper file_fdw;
             create table p (id int primary key, v text) partition by range (id);
             create table p0 partition of p for values from (0) to (10);
             create unlogged table p1 partition of p for values from (10) to (20);
             create table p2 partition of p for values from (20) to (30); alter table p2 replica identity nothing;
             create table p3 partition of p for values from (30) to (40); alter table p3 replica identity full;
             create table q (v text) partition by list (v); alter table q replica identity full;
             create table q1 partition of q for values in ('a');
             create foreign table q2 partition of q for values in ('b') server f options (filename '/dev/null')",
        )
        .await;
    w.target
        .batch(
            "create table p (id int primary key, v text); create table q (v text); create table p0 (id int primary key, v text)",
        )
        .await;
    w.connector("[[table]]\nsource = 'public.p'\n[[table]]\nsource = 'public.q'\n[[table]]\nsource = 'public.p0'");
    let found = check(&w).await;
    let at = |code: &str| -> Vec<String> {
        let these = found.0.iter().filter(|finding| finding["code"] == code);
        these.map(|finding| finding["subject"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(at("table.partition_unlogged"), ["public.p1"]);
    assert_eq!(at("table.partition_identity"), ["public.p2", "public.q1"]);
    assert_eq!(at("table.partition_foreign"), ["public.q2"]);
    assert_eq!(at("table.partition_twice"), ["public.p0"]);
    assert_eq!(found.errors().len(), 5);
}

#[tokio::test]
async fn types_and_expressions_that_do_not_fit() {
    let w = World::new("types").await;
    w.source.batch("create table t (id int primary key, a text, b numeric(9,4), c bigint, at timestamptz, z varchar(20))").await;
    w.target.batch("create table t (id int primary key, a int, b numeric(9,2), c int, at date, sum bigint, z varchar(30))").await;
    let columns = "[table.columns]\nat = 'a'\nsum = 'sum(c)'\n";
    w.connector(&format!("[[table]]\nsource = 'public.t'\nwhere = 'nosuch > 5'\nignore = ['at']\n{columns}"));
    let found = check(&w).await;
    assert_eq!(found.errors().iter().filter(|code| **code == "table.expression").count(), 2);
    let types: Vec<&Value> = found.0.iter().filter(|finding| finding["code"] == "table.target_type").collect();
    assert_eq!(types.len(), 2, "{:#?}", found.0);
    assert!(types[0]["what"].as_str().unwrap().contains("column `at` of type date cannot take `a`"));
    assert_eq!(types[1]["remedy"]["text"], "[table.columns]\na = '\"a\"::integer'");
    assert_eq!(found.0.iter().filter(|finding| finding["code"] == "table.target_narrower").count(), 2);
    let expressions: Vec<String> =
        found.0.iter().filter(|f| f["code"] == "table.expression").map(|f| f["what"].as_str().unwrap().to_owned()).collect();
    assert!(
        expressions[0].contains("the expression of `sum` cannot be prepared: aggregate functions are not allowed"),
        "{expressions:?}"
    );
    assert!(
        expressions[1].contains("`where` cannot be prepared: column \"nosuch\" does not exist (SQLSTATE 42703, at character 1)"),
        "{expressions:?}"
    );
    w.connector("[[table]]\nsource = 'public.t'\n[table.columns]\nat = 'at::date'\na = '\"a\"::integer'\nsum = 'c * 2'");
    assert_eq!(check(&w).await.errors(), [""; 0]);
}

#[tokio::test]
async fn values_that_are_others_each_time() {
    let w = World::new("volatile").await;
    w.source.batch("create table t (id int primary key, at timestamptz, v text)").await;
    w.target
        .batch(
            "create table t (id int primary key, at date, v text, seen timestamptz, today date, n float8, tidy text);
             create function tidy(text) returns text language sql as 'select lower($1)'",
        )
        .await;
    let columns = "[table.columns]\nat = 'at::date'\nseen = \"coalesce(at, now())\"\ntoday = 'CURRENT_DATE'\nn = 'random()'\ntidy = 'tidy(v)'\n";
    w.connector(&format!("[[table]]\nsource = 'public.t'\nwhere = \"at > clock_timestamp() - interval '1 year'\"\n{columns}"));
    let found = check(&w).await;
    assert_eq!(found.errors(), [""; 0], "{:#?}", found.0);
    let told = found.0.iter().filter(|finding| finding["code"] == "table.expression_volatile");
    let told: Vec<&str> = told.map(|finding| finding["what"].as_str().unwrap().split(", which").next().unwrap()).collect();
    let expected = [
        "the expression of `seen` uses `now`",
        "the expression of `today` uses `the current time`",
        "the expression of `n` uses `random`",
        "the expression of `tidy` uses `tidy`",
        "`where` uses `clock_timestamp`",
    ];
    assert_eq!(told, expected);
    w.target.batch("alter function tidy(text) immutable").await;
    w.connector("[[table]]\nsource = 'public.t'\n[table.columns]\nat = 'at::date'\ntidy = 'tidy(v)'");
    assert!(!check(&w).await.has("table.expression_volatile"));
}

#[tokio::test]
async fn tables_that_inherit_are_tables_of_their_own() {
    let w = World::new("inherits").await;
    w.both("create table t (id int primary key, v text)").await;
    w.source.batch("create table \"T 2023\" () inherits (t); create table deep (primary key (id)) inherits (\"T 2023\")").await;
    w.target.batch("create table deep (id int primary key, v text)").await;
    w.connector("[[table]]\nsource = 'public.t'\n[[table]]\nsource = 'public.deep'");
    let found = check(&w).await;
    assert_eq!(found.errors(), [""; 0], "{:#?}", found.0);
    assert_eq!(
        found.remedy("table.inherited"),
        "# once it has a key: none is inherited\n[[table]]\nsource = 'public.\"T 2023\"'"
    );
    w.source
        .batch("insert into t values (1, 'x'); insert into \"T 2023\" values (2, 'y'); insert into deep values (3, 'z')")
        .await;
    w.cli("run", &["--endpos", "current"]).await.assert_code(0);
    // Without a key and unpublished: its updates must go on working.
    w.source.batch("update \"T 2023\" set v = 'yy'; update deep set v = 'zz'; update only t set v = 'xx'").await;
    w.cli("run", &["--endpos", "current"]).await.assert_code(0);
    assert_eq!(w.target.text("table t").await, "1|xx");
    assert_eq!(w.target.text("table deep").await, "3|zz");
}

#[tokio::test]
async fn a_missing_target_table_is_proposed_and_the_proposal_does() {
    let w = World::new("proposal").await;
    w.source
        .batch(
            "create type mood as enum ('a'); create table \"T 1\" (id bigint generated always as identity primary key, email varchar(80) not null,
                amount_cents int not null, m mood, tags text[], legacy bytea, twice int generated always as (amount_cents * 2) stored)",
        )
        .await;
    let columns = "[table.columns]\norder_id = 'id'\ntotal = 'round(amount_cents / 100.0, 2)'\n";
    w.connector(&format!("[[table]]\nsource = 'public.\"T 1\"'\ntarget = '\"New Shop\".orders'\nignore = ['legacy']\n{columns}"));
    let found = check(&w).await;
    assert_eq!(found.errors(), ["table.target_missing"], "{:#?}", found.0);
    let ddl = found.remedy("table.target_missing");
    let expected = "CREATE SCHEMA IF NOT EXISTS \"New Shop\";\nCREATE TYPE public.mood AS ENUM ('a');\n\
                    CREATE TABLE \"New Shop\".\"orders\" (\n    \"order_id\" bigint GENERATED ALWAYS AS IDENTITY NOT NULL,\n    \"total\" numeric,\n    \
                    \"email\" character varying(80) NOT NULL,\n    \"m\" public.mood,\n    \"tags\" text[]\n);\n\
                    ALTER TABLE \"New Shop\".\"orders\" ADD CONSTRAINT \"T 1_pkey\" PRIMARY KEY (\"order_id\");";
    assert_eq!(ddl, expected);
    assert_eq!(w.target.text("select count(*) from pg_namespace where nspname = 'New Shop'").await, "0");
    w.target.batch(&ddl).await;
    let found = check(&w).await;
    assert_eq!(found.errors(), [""; 0], "{:#?}", found.0);
    assert!(found.has("table.generated") && found.has("source.sequences"));
    w.source.batch("insert into \"T 1\" (email, amount_cents) values ('x', 1), ('y', 2); analyze \"T 1\"").await;
    let plan = w.cli("plan", &["--json"]).await.assert_code(0).json();
    assert_eq!(plan["tables"][0]["kind"], "keyed");
    assert_eq!(plan["tables"][0]["key"][0], "order_id");
    assert_eq!(
        plan["setval"][0],
        "SELECT setval(pg_get_serial_sequence('\"New Shop\".\"orders\"', 'order_id'), greatest((SELECT max(\"order_id\") FROM \"New Shop\".\"orders\"), 2));"
    );
    w.target.batch(plan["setval"][0].as_str().unwrap()).await;
    let text = w.cli("plan", &[]).await.assert_code(0).stdout;
    for part in [
        "make publication `tablelift_proposal",
        "CREATE PUBLICATION",
        "make slot",
        "upsert:",
        "ON CONFLICT (\"order_id\")",
        "1 table, about 2 rows",
    ] {
        assert!(text.contains(part), "no {part} in {text}");
    }
}

#[tokio::test]
async fn hostile_names_and_odd_shapes() {
    let w = World::new("hostile-check").await;
    let wide: Vec<String> = (0..1599).map(|at| format!("c{at} int")).collect();
    w.source
        .batch(&format!(
            "create schema \"s.1\"; create table \"s.1\".\"t\"\"; drop table x; --\" (\"id'\" bigserial primary key, \"src\" text, \"a\\b\" int,
                \"select\" varchar(3) not null, \"\"\"\" jsonb);
             create table \"s.1\".empty (); alter table \"s.1\".empty replica identity full;
             create table \"s.1\".\"{}\" (id int primary key, {})",
            "ü".repeat(31),
            wide.join(", ")
        ))
        .await;
    w.connector("[[table]]\nsource = '\"s.1\".*'\ntarget = '\"s.1\".*'");
    let found = check(&w).await;
    assert_eq!(found.errors(), ["table.target_missing"; 3], "{:#?}", found.0);
    let ddl = found.0.iter().filter(|finding| finding["code"] == "table.target_missing");
    let ddl: Vec<&str> = ddl.map(|finding| finding["remedy"]["text"].as_str().unwrap()).collect();
    w.target.batch(&ddl.concat()).await;
    assert_eq!(check(&w).await.errors(), [""; 0]);
    let plan = w.cli("plan", &["--json"]).await.assert_code(0).json();
    assert_eq!(plan["tables"].as_array().unwrap().len(), 3);
    w.source.batch(plan["publications"][0]["sql"].as_str().unwrap()).await;
    assert_eq!(w.source.text("select count(*) from pg_publication_rel").await, "3");
    assert_eq!(plan["setval"].as_array().unwrap().len(), 1);
    assert_eq!(check(&w).await.errors(), [""; 0]);
}

#[tokio::test]
async fn entries_against_each_other() {
    let w = World::new("entries").await;
    w.both("create table a (id int primary key); create table b (id int primary key)").await;
    w.target.batch("insert into b values (1)").await;
    w.connector("[[table]]\nsource = 'public.a'\ntarget = 'public.b'\n[[table]]\nsource = 'public.*'");
    let found = check(&w).await;
    assert_eq!(found.errors(), ["table.target_twice", "table.target_not_empty"]);
    *w.target_url.lock().unwrap() = w.source.url();
    w.connector("[[table]]\nsource = 'public.a'");
    assert_eq!(check(&w).await.errors(), ["table.same"]);
    w.connector("[[table]]\nsource = 'nothing.*'");
    assert_eq!(check(&w).await.errors(), ["table.pattern_empty", "table.none"]);
}

#[tokio::test]
async fn topics_that_would_lose_events() {
    use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
    let w = World::kafka("topics").await;
    w.both("create table t (id int primary key, mail text); create table u (v text)").await;
    w.target.batch("create unique index on t (mail)").await;
    let entries = "[[table]]\nsource = 'public.t'\n[[table]]\nsource = 'public.u'\ninsert_only = true";
    w.connector(entries);
    let found = check(&w).await;
    assert_eq!(found.errors(), [""; 0], "{:#?}", found.0);
    assert_eq!(found.0.iter().filter(|finding| finding["code"] == "log.one_partition").count(), 2);
    let plan = w.cli("plan", &["--json"]).await.assert_code(0).json();
    assert_eq!(plan["topics"][1]["name"], format!("{}.public.t, 1 partition", w.name));
    let brokers = w.brokers.lock().unwrap().clone();
    let config = rdkafka::ClientConfig::from_iter([("bootstrap.servers".to_owned(), brokers)]);
    let admin: AdminClient<_> = config.create().unwrap();
    let (t, control) = (w.topic("public.t"), w.topic("tablelift"));
    let bad = NewTopic::new(&t, 3, TopicReplication::Fixed(1));
    let bad = bad.set("cleanup.policy", "compact").set("retention.ms", "60000").set("unclean.leader.election.enable", "true");
    let control = NewTopic::new(&control, 2, TopicReplication::Fixed(1));
    admin.create_topics([&bad, &control], &AdminOptions::new()).await.unwrap();
    let found = check(&w).await;
    let mut errors = found.errors();
    errors.sort_unstable();
    let expected =
        ["log.compaction", "log.control_partitions", "log.control_retention", "log.partitions", "log.unclean_election"];
    assert_eq!(errors, expected);
    assert!(found.has("log.retention") && found.has("log.one_replica"));
    w.connector_with(|f| f.log += "[log.kafka]\n\"linger.sm\" = \"5\"\n", entries);
    assert_eq!(check(&w).await.errors(), ["log.setting"]);
    *w.brokers.lock().unwrap() = "127.0.0.1:1".into();
    w.connector(entries);
    assert_eq!(check(&w).await.errors(), ["log.unreachable"]);
}

/// A pooler in transaction mode before a test's databases. `None` where there is no PgBouncer: then this is not tested.
async fn pgbouncer(w: &World, mode: &str) -> Option<u16> {
    let program =
        ["/usr/sbin/pgbouncer", "/usr/local/bin/pgbouncer"].into_iter().find(|path| std::path::Path::new(path).exists())?;
    let (dir, port) =
        (crate::support::servers::run_dir().join(format!("{}-{mode}", w.name)), crate::support::servers::free_port());
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::set_permissions(&dir, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    let at = dir.display();
    let database = |db: &Db| format!("{0} = host=127.0.0.1 port={1} dbname={0}\n", db.name, db.port);
    // The run's watchdog ends what has its pid in such a file.
    let ini = format!(
        "[databases]\n{}{}[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nauth_type = trust\nauth_file = {at}/users\n\
         pool_mode = {mode}\nlogfile = {at}/log\npidfile = {at}/pid\nunix_socket_dir =\n",
        database(&w.source),
        database(&w.target)
    );
    std::fs::write(dir.join("users"), "\"postgres\" \"\"\n").unwrap();
    std::fs::write(dir.join("pgbouncer.ini"), ini).unwrap();
    let script = format!(". tests/servers/env.sh; as_server {program} -q -d {at}/pgbouncer.ini");
    let started = std::process::Command::new("bash").args(["-c", &script]).current_dir(env!("CARGO_MANIFEST_DIR")).status();
    assert!(started.unwrap().success());
    eventually("the pooler answers", PATIENCE, async || Db::new(port, &w.source.name).try_session().await.is_ok()).await;
    Some(port)
}

#[tokio::test]
async fn a_pooler_by_transaction_is_seen_on_either_side() {
    let w = World::new("pooled").await;
    w.both("create table t (id int primary key)").await;
    let Some(port) = pgbouncer(&w, "transaction").await else { return };
    *w.target_url.lock().unwrap() = w.target.url_through(port);
    w.connector("[[table]]\nsource = 'public.t'");
    assert_eq!(check(&w).await.errors(), ["target.pooler"]);
    *w.source_url.lock().unwrap() = w.source.url_through(port);
    *w.target_url.lock().unwrap() = w.target.url();
    w.connector("[[table]]\nsource = 'public.t'");
    assert_eq!(check(&w).await.errors(), ["source.pooler"]);
    let port = pgbouncer(&w, "session").await.unwrap();
    *w.target_url.lock().unwrap() = w.target.url_through(port);
    *w.source_url.lock().unwrap() = w.source.url();
    w.connector("[[table]]\nsource = 'public.t'");
    assert_eq!(check(&w).await.errors(), [""; 0]);
}

#[tokio::test]
async fn a_standby_is_told() {
    let cluster = Cluster::source(&[]).await;
    let primary = cluster.db("one").await;
    primary.batch("create table t (id int primary key)").await;
    let standby = cluster.standby().await;
    let w = World::new("standby").await;
    *w.source_url.lock().unwrap() = Db::new(standby.port, "one").url();
    *w.target_url.lock().unwrap() = Db::new(standby.port, "one").url();
    w.connector("[[table]]\nsource = 'public.t'\ntarget = 'public.u'");
    let found = check(&w).await;
    assert!(found.has("source.standby") && found.has("target.standby"), "{:#?}", found.0);
    assert!(found.has("source.replication") || !found.errors().is_empty());
    drop(standby);
}

#[tokio::test]
async fn a_damaged_file_or_command_is_2() {
    let w = World::new("wrong").await;
    w.connector("[[table]]\nsuorce = 'public.a'");
    let output: Output = w.cli("check", &[]).await;
    assert_eq!(output.code, 2, "{output:#?}");
    assert!(output.stdout.is_empty() && output.stderr.contains("suorce"));
}

/// What is in no stream, and what nobody checks: said before it hurts. And what is in order is not complained of.
#[tokio::test]
async fn traceless_and_unchecked() {
    let w = World::new("traceless").await;
    let parts = "create table p (id int primary key, v text) partition by range (id); create table p1 partition of p for values from (0) to (10)";
    w.both(&format!("{parts}; create table g (id int primary key, a int, twice int generated always as (a * 2) stored)")).await;
    w.target.batch("alter table g add unique (a) deferrable").await;
    let entries = "[[table]]\nsource = 'public.p'\n[[table]]\nsource = 'public.g'";
    w.connector(entries);
    let found = check(&w).await;
    assert_eq!(found.errors(), [""; 0], "{:#?}", found.0);
    assert!(found.has("table.partitioned") && found.has("table.unique_unchecked"), "{:#?}", found.0);
    w.connector_with(|f| f.target += "triggers = 'fire'\n", entries);
    assert!(!check(&w).await.has("table.unique_unchecked"));
    // a generated column is none that the publication leaves out
    w.cli("prepare", &[]).await.assert_code(0);
    let found = check(&w).await;
    assert_eq!(found.errors(), [""; 0], "{:#?}", found.0);
}
