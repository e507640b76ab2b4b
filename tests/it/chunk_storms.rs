//! What an application and its DBA may do to a table while it is copied in chunks, with and without crashes; and tables of every make.

use crate::both_logs;
use crate::chunks::{DDL, arrived, fill, is_still_copied, recorded, slowly, under_way};
use crate::support::{Daemon, Load, Log, PATIENCE, World, eventually};
use std::time::Duration;

/// One table's bad day, statement by statement.
pub const STORM: &[&str] = &[
    "delete from t where id % 7 = 0 and id <= 1000",
    "vacuum t",
    "update t set n = n + 1 where id % 5 = 0",
    "update t set id = id + 100000 where id % 50 = 1",
    "update t set u = 12001 - u where u between 1 and 12000 and u % 20 in (2, 19)",
    "begin; create temp table gone on commit drop as select * from t where id % 11 = 3; delete from t where id % 11 = 3;
     insert into t select id, u, n + 10, pad, large from gone; commit",
    "insert into t select g, g, 0, 'new', repeat('l', 4000) from generate_series(200001, 200300) g",
    "update t set id = id - 100000 where id between 100001 and 200000 and id % 100 = 1",
    "vacuum full t",
    "update t set large = null where id % 30 = 0",
    "update t set large = repeat('x', 5000), id = id + 300000 where id % 60 = 5",
    "cluster t using t_pkey",
    "update t set n = n + 100 where id % 3 = 0",
    "alter table t set (fillfactor = 50)",
    "delete from t where id % 13 = 4",
    "update t set u = null where id % 17 = 3",
];

async fn stormed(w: &World, identity: &str) {
    w.both(DDL).await;
    w.source
        .batch(&format!("alter table t add unique (u) deferrable initially deferred; alter table t replica identity {identity}"))
        .await;
    w.target.batch("alter table t add unique (u)").await;
    w.source.batch(&fill(1, 12_000)).await;
    for text in ["again", "slot", "lock"] {
        w.expect_log(text);
    }
}

both_logs!(a_storm_in_a_copy, |w| {
    stormed(&w, "default").await;
    slowly(&w, 2500, "[[table]]\nsource = 'public.t'");
    let _d = Daemon::run(&w);
    under_way(&w, "t").await;
    w.source.each(&STORM[..6]).await;
    is_still_copied(&w, "t").await;
    w.source.each(&STORM[6..]).await;
    arrived(&w, &["t"]).await;
});

both_logs!(a_storm_with_whole_old_rows, |w| {
    stormed(&w, "full").await;
    slowly(&w, 2500, "[[table]]\nsource = 'public.t'");
    let _d = Daemon::run(&w);
    under_way(&w, "t").await;
    w.source.each(STORM).await;
    arrived(&w, &["t"]).await;
});

// Whatever was copied before a TRUNCATE is gone with it, and what comes after stays.
both_logs!(a_truncate_in_a_copy, |w| {
    stormed(&w, "default").await;
    slowly(&w, 500, "[[table]]\nsource = 'public.t'");
    let d = Daemon::run(&w);
    under_way(&w, "t").await;
    w.source.batch("truncate t").await;
    w.source.batch(&fill(6001, 9000)).await;
    w.source.batch("update t set n = 7 where id % 4 = 0").await;
    is_still_copied(&w, "t").await;
    slowly(&w, 100_000, "[[table]]\nsource = 'public.t'");
    d.hup();
    arrived(&w, &["t"]).await;
});

both_logs!(a_storm_and_ten_sigkills, |w| {
    stormed(&w, "default").await;
    slowly(&w, 2000, "[[table]]\nsource = 'public.t'");
    let storm = {
        let source = w.source.clone();
        tokio::spawn(async move {
            for sql in STORM {
                source.batch(sql).await;
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
        })
    };
    for moment in 0..10 {
        let d = Daemon::run(&w);
        tokio::time::sleep(Duration::from_millis(250 + moment * 53)).await;
        d.kill9();
    }
    storm.await.unwrap();
    let _d = Daemon::run(&w);
    arrived(&w, &["t"]).await;
});

/// Both servers crash in the middle of it.
async fn the_servers_crash(name: &str, log: Log) {
    let w = World::own_both(name, log, &[]).await;
    stormed(&w, "default").await;
    for text in ["retry", "closed", "connect", "shut"] {
        w.expect_log(text);
    }
    slowly(&w, 2500, "[[table]]\nsource = 'public.t'");
    let _d = Daemon::run(&w);
    under_way(&w, "t").await;
    w.source.each(&STORM[..4]).await;
    w.target_cluster.as_ref().unwrap().restart("immediate").await;
    w.source.each(&STORM[4..8]).await;
    w.source_cluster.as_ref().unwrap().restart("fast").await;
    w.source.each(&STORM[8..]).await;
    w.target_cluster.as_ref().unwrap().restart("fast").await;
    arrived(&w, &["t"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_servers_crash_local() {
    the_servers_crash("servers-l", Log::Local).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_servers_crash_kafka() {
    the_servers_crash("servers-k", Log::Kafka).await;
}

/// Tables whose rows come by chunks: their DDL, and the rows.
const MAKES: &[(&str, &str, &str)] = &[
    ("composite", "(a int, b text, v int, primary key (b, a))", "g, 'b' || g % 7, g"),
    ("worded", "(id text collate \"en-x-icu\" primary key, v int)", "case g % 2 when 0 then 'Å' else 'a' end || g, g"),
    ("uuids", "(id uuid primary key, v int)", "md5(g::text)::uuid, g"),
    (
        "moods",
        "(a mood, v int, b int, ms mood[], d fine, primary key (a, b))",
        "(array['sad', 'ok'])[g % 2 + 1]::mood, g, g, array['ok', null]::mood[], 'x'",
    ),
    (
        "numbers",
        "(id numeric primary key, v int)",
        "case g % 3 when 0 then g::numeric(20, 4) when 1 then -g else g + 0.50 end, g",
    ),
    ("negative", "(id bigint primary key, v int)", "-9223372036854775807 + g, g"),
    ("chars", "(id char(8) primary key, v int)", "'c' || g, g"),
    ("bytes", "(id bytea primary key, v int)", "decode(md5(g::text), 'hex'), g"),
    (
        "times",
        "(id timestamptz primary key, at timestamp, v int)",
        "'epoch'::timestamptz + g * interval '1.000001 s', '-infinity', g",
    ),
    ("cases", "(id citext primary key, v int)", "'Case' || g, g"),
    ("floats", "(id float8 primary key, v int)", "g / 3.0::float8, g"),
    (
        "names",
        "(id int primary key, v int, c regclass, t regtype, o oid, r int4range, x xml)",
        "g, g, 'names', 'mood', g, '[1,5)', '<a/>'",
    ),
    (
        "generated",
        "(id int primary key, v int, twice int generated always as (v * 2) stored, i int generated by default as identity)",
        "",
    ),
    ("nothing", "(id int primary key, v int)", ""),
];

both_logs!(tables_of_every_make, |w| {
    w.both("create extension citext; create type mood as enum ('sad', 'ok'); create domain fine as text check (value <> '')")
        .await;
    let mut tables = String::new();
    for (name, columns, rows) in MAKES {
        w.both(&format!("create table {name} {columns}")).await;
        if !rows.is_empty() {
            w.source.batch(&format!("insert into {name} select {rows} from generate_series(1, 500) g")).await;
        }
        tables += &format!("[[table]]\nsource = 'public.{name}'\n");
    }
    w.source.batch("insert into generated (id, v) select g, g from generate_series(1, 100) g").await;
    // one that has lost columns, one whose columns stand elsewhere, one with other types, one through expressions, one of ten great rows
    w.source.batch("create table lost (gone int, id int primary key, also text, v int); insert into lost select g, g, 'a', g from generate_series(1, 100) g; alter table lost drop column gone, drop column also; insert into lost values (101, 101)").await;
    w.target.batch("create table lost (v int, id int primary key)").await;
    w.source.batch("create table wider (id int primary key, v int, s varchar(20)); insert into wider select g, g, g from generate_series(1, 100) g").await;
    w.target.batch("create table wider (id bigint primary key, v bigint, s text)").await;
    w.source.batch("create table made (id int primary key, a text, b text); insert into made select g, 'a' || g, 'b' from generate_series(1, 500) g").await;
    w.target.batch("create table made (id int primary key, ab text)").await;
    w.both("create table great (id int primary key, v text)").await;
    w.source.batch("alter table great alter v set storage external; insert into great select g, repeat(md5(g::text), 250000) from generate_series(1, 10) g").await;
    for name in ["lost", "wider", "great"] {
        tables += &format!("[[table]]\nsource = 'public.{name}'\n");
    }
    tables += "[[table]]\nsource = 'public.made'\nwhere = \"id % 2 = 0\"\n[table.columns]\nid = 'id'\nab = \"a || b\"\n";
    // leaves whose columns stand in another order
    let leaves = "create table parts (id int, v int, t text, primary key (id)) partition by range (id);
        create table parts_1 partition of parts for values from (0) to (500);
        create table parts_2 (t text, id int not null, gone int, v int); alter table parts_2 drop column gone;
        alter table parts attach partition parts_2 for values from (500) to (2000)";
    w.both(leaves).await;
    w.source.batch("insert into parts select g, g, 't' || g from generate_series(1, 1000) g").await;
    tables += "[[table]]\nsource = 'public.parts'\n";
    w.connector(&tables);
    let _d = Daemon::run(&w);
    for name in MAKES.iter().map(|(name, ..)| *name).chain(["lost", "wider", "parts"]) {
        w.source.try_batch(&format!("update {name} set v = null where v in (5, 10)")).await.unwrap();
    }
    arrived(&w, &MAKES.iter().map(|(name, ..)| *name).collect::<Vec<_>>()).await;
    for name in MAKES.iter().map(|(name, ..)| *name).chain(["lost", "wider", "parts"]) {
        w.source.batch(&format!("update {name} set v = -1 where v in (7, 14); delete from {name} where v = 21")).await;
    }
    arrived(&w, &MAKES.iter().map(|(name, ..)| *name).collect::<Vec<_>>()).await;
    for name in ["wider", "great", "parts"] {
        w.equal(&format!("table {name}")).await;
    }
    w.equal("select id, v from lost").await;
    w.equal_as("select id, a || b from made where id % 2 = 0", "table made").await;
});

/// Children and parents are copied at the same time, with foreign keys that are in force, while both change.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parents_and_children() {
    let w = World::new("family").await;
    w.both("create table parent (id int primary key, v int); create table child (id int primary key, p int not null references parent on delete cascade, v int)").await;
    w.source.batch("insert into parent select g, 0 from generate_series(1, 2000) g; insert into child select g, g % 2000 + 1, 0 from generate_series(1, 6000) g").await;
    let tables = "[[table]]\nsource = 'public.child'\n[[table]]\nsource = 'public.parent'";
    w.connector_with(|f| f.target += "triggers = 'fire'\n", tables);
    let writer = {
        let source = w.source.clone();
        tokio::spawn(async move {
            for n in 1..300 {
                let sql = format!(
                    "begin; insert into parent values (10000 + {n}, {n}); insert into child values (10000 + {n}, 10000 + {n}, 1); commit;
                     update child set p = {n} where id = 6001 - {n}; update child set v = 3 where p = {n}; delete from parent where id = 2000 - {n}; update parent set v = {n} where id = {n}"
                );
                source.batch(&sql).await;
            }
        })
    };
    let _d = Daemon::run(&w);
    writer.await.unwrap();
    arrived(&w, &["parent", "child"]).await;
}

/// Children whose parents take long are no failure.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parents_that_take_long() {
    let w = World::new("long").await;
    w.both(&format!("{DDL}; create table child (id int primary key, p int not null references t, v int)")).await;
    w.source.batch(&fill(1, 8000)).await;
    w.source.batch("insert into child select g, g, 0 from generate_series(8000, 7901, -1) g").await;
    let tables = "[copy]\nmax_rows_per_second = 1000\n[[table]]\nsource = 'public.t'\n[[table]]\nsource = 'public.child'";
    w.connector_with(|f| f.target += "triggers = 'fire'\n", tables);
    let _d = Daemon::run(&w);
    under_way(&w, "t").await;
    w.source
        .batch("update child set v = 1 where id % 3 = 0; delete from child where id = 7950; delete from t where id = 7950")
        .await;
    arrived(&w, &["t", "child"]).await;
}

// Many small ones beside a big one, and one that comes later.
both_logs!(many_tables, |w| {
    w.both(DDL).await;
    w.source.batch(&fill(1, 6000)).await;
    let mut tables = "[[table]]\nsource = 'public.t'\n".to_owned();
    for n in 1..=30 {
        w.both(&format!("create table s{n} (id int primary key, v int)")).await;
        w.source.batch(&format!("insert into s{n} select g, g from generate_series(1, 40) g")).await;
        if n < 30 {
            tables += &format!("[[table]]\nsource = 'public.s{n}'\n");
        }
    }
    slowly(&w, 2000, &tables);
    let d = Daemon::run(&w);
    under_way(&w, "t").await;
    for n in 1..=30 {
        w.source.batch(&format!("update s{n} set v = -v where id % 2 = 0; insert into s{n} values (100, 0)")).await;
    }
    is_still_copied(&w, "t").await;
    let before = recorded(&w, "t").await;
    slowly(&w, 2000, &format!("{tables}[[table]]\nsource = 'public.s30'"));
    d.hup();
    eventually("the new table is taken up", PATIENCE, async || {
        w.target.number("select count(*) from tablelift.table_state").await == 31
    })
    .await;
    assert!(recorded(&w, "t").await >= before || w.target.number("select count(*) from t").await >= before);
    let names: Vec<String> = (1..=30).map(|n| format!("s{n}")).chain(["t".to_owned()]).collect();
    arrived(&w, &names.iter().map(String::as_str).collect::<Vec<_>>()).await;
});

// The second daemon stands by, and goes on with the copy when the first is gone.
both_logs!(a_standby_takes_the_copy_over, |w| {
    w.both(DDL).await;
    w.source.batch(&fill(1, 12_000)).await;
    for text in ["again", "slot", "cannot listen", "closed"] {
        w.expect_log(text);
    }
    slowly(&w, 2500, "[[table]]\nsource = 'public.t'");
    let first = Daemon::run(&w);
    under_way(&w, "t").await;
    let second = Daemon::run(&w);
    second.logged("standing by").await;
    w.source.batch("update t set n = 1 where id % 3 = 1").await;
    is_still_copied(&w, "t").await;
    first.kill9();
    w.source.batch("update t set n = 2 where id % 4 = 1").await;
    arrived(&w, &["t"]).await;
    drop(second);
});

// A copy gives way to the stream, and ends when there is time.
both_logs!(a_copy_gives_way, |w| {
    Load::prepare(&w).await;
    w.both(DDL).await;
    w.source.batch(&fill(1, 4000)).await;
    w.connector(&format!("[copy]\npause_when_lag_over = '1ms'\n[[table]]\nsource = 'public.t'\n{}", Load::tables()));
    let load = Load::start(&w, 2);
    let _d = Daemon::run(&w);
    eventually("some traffic", PATIENCE, async || load.committed() > 500).await;
    load.stop().await;
    arrived(&w, &["t"]).await;
    Load::equal(&w).await;
});
