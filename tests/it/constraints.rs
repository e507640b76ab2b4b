//! Constraints, triggers and rights of the target, as real databases have them.

use crate::both_logs;
use crate::support::{Daemon, Log, World};

both_logs!(unique_values_are_swapped, |w| {
    w.both(
        "create table t (id int primary key, email text unique, rank int not null, unique (rank) deferrable initially deferred)",
    )
    .await;
    w.source.batch("insert into t select g, 'mail' || g, g from generate_series(1, 20) g").await;
    w.connector("[[table]]\nsource = 'public.t'");
    let _d = Daemon::run(&w);
    w.settle().await;
    w.source
        .each(&[
            "begin; update t set email = null where id = 1; update t set email = 'mail1' where id = 2; update t set email = 'mail2' where id = 1; commit",
            "update t set rank = 21 - rank",
            "begin; delete from t where id = 3; insert into t values (30, 'mail3', 100); commit",
            "begin; update t set email = 'x' where id = 4; insert into t values (40, 'mail4', 101); delete from t where id = 40; update t set email = 'mail4' where id = 5; commit",
            "update t set id = id + 1000",
        ])
        .await;
    for n in 0..20 {
        w.source.batch(&format!("begin; update t set email = 'tmp' where id = 1006; update t set email = 'mail{0}' where id = 1007; update t set email = 'mail{1}' where id = 1006; commit", 6 + n % 2, 7 - n % 2)).await;
    }
    w.settle().await;
    w.equal("table t").await;
});

/// Two tables, a foreign key between them.
const FAMILY: &str = "create table parent (id int primary key, v text); create table child (id int primary key, parent int not null references parent, v text)";

async fn a_family(w: World, triggers: &str) {
    w.both(FAMILY).await;
    w.source.batch("insert into parent select g, 'p' from generate_series(1, 50) g; insert into child select g, g, 'c' from generate_series(1, 50) g").await;
    w.connector_with(
        |f| f.target += &format!("triggers = '{triggers}'\n"),
        "[[table]]\nsource = 'public.child'\n[[table]]\nsource = 'public.parent'",
    );
    if w.log == Log::Kafka {
        // A child that arrives before its parent is tried again.
        w.expect_log("again");
        w.expect_log("23503");
    }
    let _d = Daemon::run(&w);
    w.settle().await;
    for n in 100..140 {
        w.source
            .batch(&format!("begin; insert into parent values ({n}, 'new'); insert into child values ({n}, {n}, 'new'); commit"))
            .await;
    }
    w.source
        .each(&[
            "begin; delete from child where parent < 10; delete from parent where id < 10; commit",
            "update child set parent = 139 where id = 20",
            "delete from parent where id = 20",
        ])
        .await;
    w.settle().await;
    w.equal("table parent").await;
    w.equal("table child").await;
}

both_logs!(foreign_keys_off, |w| {
    a_family(w, "off").await;
});

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn foreign_keys_fire() {
    a_family(World::new("fire").await, "fire").await;
}

// Rows whose parents come later, in the same table and in a circle of tables: they are read again once these are there.
both_logs!(trees_and_circles_fire, |w| {
    w.both(
        "create table node (id int primary key, parent int references node, n int);
         create table a (id int primary key, b int);
         create table b (id int primary key, a int references a);
         alter table a add foreign key (b) references b",
    )
    .await;
    // a tree whose parents lie anywhere: ranks are r(id) = 101 id mod 499, and the parent has half of one's rank
    w.source
        .batch(
            "insert into node select id, nullif(id * 101 % 499 / 2 * 84 % 499, 0), 0 from generate_series(1, 498) id;
             insert into a select g, null from generate_series(1, 6) g; insert into b select g, g % 6 + 1 from generate_series(1, 5) g;
             update a set b = id where id < 6",
        )
        .await;
    w.connector_with(
        |f| f.target += "triggers = 'fire'\n",
        "[[table]]\nsource = 'public.node'\n[[table]]\nsource = 'public.a'\n[[table]]\nsource = 'public.b'",
    );
    let d = Daemon::run(&w);
    for n in 0..10 {
        w.source
            .batch(&format!("update node set n = n + 1 where id % 10 = {n}; insert into node values (499 + {n}, 498 - {n}, 0)"))
            .await;
    }
    d.kill9();
    let _d = Daemon::run(&w);
    w.source.batch("insert into a values (7, 5); insert into b values (6, 7)").await;
    w.settle().await;
    for table in ["node", "a", "b"] {
        w.equal(&format!("table {table}")).await;
    }
    assert_eq!(w.target.text("select count(*) from tablelift.reread").await, "0");
});

both_logs!(triggers_fire_only_where_asked, |w| {
    w.both("create table t (id int primary key, v text)").await;
    w.target
        .batch(
            "create table fired (id int);
             create function note() returns trigger language plpgsql as $$ begin insert into fired values (new.id); return null; end $$;
             create trigger note after insert on t for each row execute function note()",
        )
        .await;
    for (triggers, id, fired) in [("off", 1, "0"), ("fire", 2, "1")] {
        w.connector_with(|f| f.target += &format!("triggers = '{triggers}'\n"), "[[table]]\nsource = 'public.t'");
        let d = Daemon::run(&w);
        w.settle().await;
        w.source.batch(&format!("insert into t values ({id}, 'x')")).await;
        w.settle().await;
        assert_eq!(w.target.text("select count(*) from fired").await, fired, "triggers = {triggers}");
        d.kill9();
    }
});

both_logs!(generated_and_identity_columns, |w| {
    w.source.batch("create table t (id int generated always as identity primary key, a int, twice int generated always as (a * 2) stored)").await;
    w.target.batch("create table t (id int generated always as identity primary key, a int, twice int generated always as (a * 2) stored, extra text default 'theirs')").await;
    w.source.batch("insert into t (a) select g from generate_series(1, 10) g").await;
    w.connector("[[table]]\nsource = 'public.t'");
    let _d = Daemon::run(&w);
    w.settle().await;
    w.source.batch("insert into t (a) values (11); update t set a = a + 1 where id = 2; delete from t where id = 3").await;
    w.settle().await;
    w.equal("select id, a, twice from t").await;
    assert_eq!(w.target.text("select distinct extra from t").await, "theirs");
});

/// A role that owns its tables and may replicate, and one on the target that may write: no superuser anywhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_superusers() {
    let w = World::own_both("rights", Log::Local, &[]).await;
    w.source.batch("create role app login replication; grant create on schema public to app").await;
    w.source.batch(&format!("grant create on database {} to app", w.source.name)).await;
    w.source.batch("set role app; create table t (id int primary key, v text); insert into t values (1, 'x')").await;
    w.source.batch("reset role").await;
    w.target.batch("create role app login; create table t (id int primary key, v text)").await;
    *w.source_url.lock().unwrap() = w.source.url().replace("postgres@", "app@");
    *w.target_url.lock().unwrap() = w.target.url().replace("postgres@", "app@");
    w.connector("[[table]]\nsource = 'public.t'");
    // Each remedy is SQL that can be run as it stands, until nothing is left.
    for _ in 0..5 {
        let out = w.cli("check", &["--json"]).await;
        if out.code == 0 {
            break;
        }
        let report = out.json();
        let errors: Vec<_> = report["findings"].as_array().unwrap().iter().filter(|f| f["level"] == "error").collect();
        let remedies: Vec<&str> =
            errors.iter().filter(|f| f["remedy"]["kind"] == "sql").filter_map(|f| f["remedy"]["text"].as_str()).collect();
        assert!(!remedies.is_empty(), "error findings without SQL: {report:#}");
        for sql in remedies {
            w.target.batch(sql).await;
        }
    }
    w.cli("check", &[]).await.assert_code(0);
    let _d = Daemon::run(&w);
    w.settle().await;
    w.source.batch("insert into t values (2, 'y'); update t set v = 'z' where id = 1").await;
    w.settle().await;
    w.equal("table t").await;
}
