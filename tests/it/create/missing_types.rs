//! Types that the target lacks are made with the tables that need them.

use super::{codes, creates, findings};
use crate::support::World;

const FEELINGS: &str = "
    create type mood as enum ('sad', 'it''s ok'); create domain feeling as mood not null default 'sad';
    create type pair as (a int, m mood); create domain positive as int constraint above check (value > 0);
    create table t (id int primary key, m mood default 'sad', f feeling, ps pair[], p positive);
    insert into t values (1, 'sad', 'it''s ok', '{\"(1,sad)\"}', 3);";

/// Types that the target lacks are made with the first table that needs them, and `drop` leaves them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn types_that_the_target_lacks() {
    let w = World::new("create-types").await;
    w.source.batch(&format!("{FEELINGS} create table also (id int primary key, m mood[])")).await;
    creates(&w, "[[table]]\nsource = 'public.*'");
    let found = findings(&w).await;
    assert_eq!(codes(&found, "error"), [""; 0], "{found:#?}");
    assert_eq!(w.target.text("select count(*) from pg_type where typname in ('mood', 'pair')").await, "0");
    let plan = w.cli("plan", &["--json"]).await.assert_code(0).json();
    let made = |table: usize| {
        let list = plan["tables"][table]["create"].as_array().unwrap();
        list.iter().map(|one| one["sql"].as_str().unwrap().split(" AS").next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    // each once, what it is made of first
    assert_eq!(made(0)[0], "CREATE TYPE public.mood");
    assert_eq!(made(1)[..3], ["CREATE TYPE public.pair", "CREATE DOMAIN public.feeling", "CREATE DOMAIN public.positive"]);
    w.cli("run", &["--endpos", "current"]).await.assert_code(0);
    w.equal("table t").await;
    assert_eq!(
        w.target.text("select data_type, domain_name from information_schema.columns where column_name = 'f'").await,
        "USER-DEFINED|feeling"
    );
    // another table that comes later finds them there
    w.source.batch("create table later (id int primary key, f feeling); insert into later values (1, 'sad')").await;
    w.cli("run", &["--endpos", "current"]).await.assert_code(0);
    w.equal("table later").await;
    let left = w.cli("drop", &["--yes"]).await.assert_code(0).stdout;
    for name in ["public.mood", "public.pair", "public.feeling", "public.positive"] {
        assert_eq!(left.matches(&format!("leaves  type {name} in the target")).count(), 1, "{left}");
    }
    assert_eq!(w.target.text("select count(*) from t").await, "1");
}

/// Two connectors that start together, both in need of the same types in the same new schema.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_starts_at_once_make_a_type_once() {
    let w = World::new("create-twice").await;
    w.source.batch("create schema s; create type s.mood as enum ('a'); create domain s.moods as s.mood[]").await;
    for at in 0..6 {
        w.source.batch(&format!("create table s.t{at} (id int primary key, m s.moods)")).await;
    }
    creates(&w, "[[table]]\nsource = 's.t0'");
    let file = std::fs::read_to_string(w.config_file()).unwrap();
    let name = file.lines().find(|line| line.starts_with("name")).unwrap().to_owned();
    let mut starts = Vec::new();
    for at in 0..6 {
        let other = w.config_file().with_file_name(format!("{}-{at}.toml", w.name));
        let text = file.replace(&name, &format!("name = '{}-{at}'", w.name)).replace("s.t0", &format!("s.t{at}"));
        std::fs::write(&other, text).unwrap();
        starts.push(async move { crate::support::tablelift(&["prepare", other.to_str().unwrap()]).await });
    }
    for start in futures_util::future::join_all(starts).await {
        start.assert_code(0);
    }
    assert_eq!(w.target.text("select count(*) from pg_tables where schemaname = 's'").await, "6");
    assert_eq!(w.target.text("select sum(jsonb_array_length(made->'types')) from tablelift.connector").await, "2");
    w.source
        .batch("select pg_drop_replication_slot(slot_name) from pg_replication_slots where database = current_database()")
        .await;
}

/// A type of the same name that is another one is told, with the SQL that makes it fit, and never altered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn types_that_are_there_and_differ() {
    let w = World::new("create-differs").await;
    w.source.batch(FEELINGS).await;
    w.target
        .batch(
            "create type mood as enum ('more', 'it''s ok'); create domain feeling as mood constraint mine check (value <> 'more');
             create type pair as (a int); create domain positive as int constraint above check (value > 0)",
        )
        .await;
    creates(&w, "[[table]]\nsource = 'public.t'");
    let found = findings(&w).await;
    let told: Vec<&str> =
        found.iter().filter(|f| f["code"] == "target.type_differs").map(|f| f["what"].as_str().unwrap()).collect();
    assert_eq!(codes(&found, "error"), ["target.type_differs"; 3], "{found:#?}");
    assert!(told[0].contains("public.mood lacks the label `sad`") && told.len() == 4, "{told:#?}");
    w.cli("run", &["--endpos", "current"]).await.assert_code(1);
    assert_eq!(w.target.text("select count(*) from pg_enum").await, "2");
    for finding in found.iter().filter(|f| f["code"] == "target.type_differs") {
        w.target.batch(finding["remedy"]["text"].as_str().unwrap()).await;
    }
    assert_eq!(codes(&findings(&w).await, "error"), [""; 0]);
    w.cli("run", &["--endpos", "current"]).await.assert_code(0);
    w.equal("table t").await;
    assert_eq!(w.target.text("select jsonb_array_length(made->'types') from tablelift.connector").await, "0");
}

/// What is a person's to make: an extension, a base type. What stands on it waits, and nothing else is said of that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn types_that_are_a_persons_to_make() {
    let w = World::new("create-extension").await;
    w.source
        .batch(
            "create schema ext; create extension citext schema ext; create domain mail as ext.citext check (value <> '');
             create type person as (m mail, n int); create table t (id int primary key, p person, m ext.citext)",
        )
        .await;
    w.source.batch("create table a_row (x int); create table u (id int primary key, r a_row)").await;
    creates(&w, "[[table]]\nsource = 'public.t'\n[[table]]\nsource = 'public.u'");
    let found = findings(&w).await;
    let missing: Vec<&str> =
        found.iter().filter(|f| f["code"] == "target.type_missing").map(|f| f["remedy"]["text"].as_str().unwrap()).collect();
    assert_eq!(missing.len(), 2, "{found:#?}");
    assert!(missing.iter().any(|text| text.contains("it is the row type of a table")));
    let sql = *missing.iter().find(|text| text.contains("EXTENSION")).unwrap();
    assert_eq!(sql, "CREATE SCHEMA IF NOT EXISTS ext;\nCREATE EXTENSION IF NOT EXISTS \"citext\" WITH SCHEMA ext;");
    // it is there, elsewhere
    w.target.batch("create extension citext; create schema ext").await;
    let found = findings(&w).await;
    let moved = found.iter().map(|f| f["remedy"]["text"].as_str().unwrap_or_default()).find(|text| text.contains("EXTENSION"));
    assert_eq!(moved.unwrap(), "-- it is there, in the schema public\nALTER EXTENSION \"citext\" SET SCHEMA ext;");
    w.target.batch(moved.unwrap()).await;
    creates(&w, "[[table]]\nsource = 'public.t'");
    assert_eq!(codes(&findings(&w).await, "error"), [""; 0]);
    w.source.batch("insert into t values (1, '(a@b,1)', 'X')").await;
    w.cli("run", &["--endpos", "current"]).await.assert_code(0);
    w.equal("table t").await;
}
