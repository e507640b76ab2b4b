//! `create = "missing"` with the local log: a table is loaded without its key, and its changes wait for it. What its application does
//! meanwhile, what a crash leaves, and what the target's other sessions do to the build.

use crate::chunk_storms::STORM;
use crate::chunks::{DDL, arrived, fill, recorded, under_way};
use crate::support::{Daemon, Db, Load, PATIENCE, World, eventually};
use std::time::Duration;

/// A table with a large key of its own and a unique one, and no trace of it in the target.
async fn filled(w: &World) {
    w.source.batch(DDL).await;
    w.source.batch("alter table t add unique (u) deferrable initially deferred; create index on t (n, id)").await;
    w.source.batch(&fill(1, 12_000)).await;
    w.source.batch("analyze t").await;
}

/// So many rows a second, as long as that makes a short load of it.
fn made_slowly(w: &World, rows: u32, tables: &str) {
    let tables = format!("[copy]\nmax_rows_per_second = {rows}\n{tables}");
    w.connector_with(|f| f.target += "create = \"missing\"\n", &tables);
}

const T: &str = "[[table]]\nsource = 'public.t'";

/// A test that attacks a load is only one as long as it is under way.
async fn is_still_loaded(w: &World) {
    let sql = "select state, (select count(*) from pg_index where indrelid = 't'::regclass) from tablelift.table_state where target_name = 't'";
    assert_eq!(w.target.text(sql).await, "load|0", "the load was over too early for this test");
}

/// The rows are the source's, and so is all that follows them.
async fn complete(w: &World) {
    arrived(w, &["t"]).await;
    let open = "select count(*) from tablelift.after_load where done_at is null";
    eventually("what follows the load is done", PATIENCE, async || w.target.text(open).await == "0").await;
    let indexes = "select string_agg(x.relname, ' ' order by x.relname), bool_and(indisvalid) from pg_index i
                   join pg_class x on x.oid = i.indexrelid where indrelid = 't'::regclass";
    assert_eq!(w.target.text(indexes).await, "t_n_id_idx t_pkey t_u_key|t");
    assert_eq!(w.target.text("select relreplident, relnatts from pg_class where oid = 't'::regclass").await, "d|5");
    arrived(w, &["t"]).await;
}

async fn came_twice(w: &World, d: &Daemon) -> bool {
    w.settle().await;
    d.log().contains("rows that came twice")
}

/// An update moves its row behind what was read: it is read again, and its key is there twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_move_come_twice() {
    let w = World::new("twice").await;
    filled(&w).await;
    made_slowly(&w, 2000, T);
    let d = Daemon::run(&w);
    under_way(&w, "t").await;
    w.source
        .each(&[
            "update t set n = n + 1, large = null where id <= 300",
            "update t set n = n + 2 where id between 200 and 500",
            "update t set id = id + 20000 where id between 400 and 600",
            "delete from t where id % 7 = 0 and id < 700",
            "insert into t select g, null, 0, 'again', 'l' from generate_series(401, 450) g where g % 7 = 0",
        ])
        .await;
    w.cli("resync", &["--table", "public.t", "--key", "5"]).await.assert_code(0);
    is_still_loaded(&w).await;
    assert_eq!(w.table("public.t").await["state"], "copy");
    assert!(came_twice(&w, &d).await);
    complete(&w).await;
}

/// Where all tables of the target are published too, a row is only deleted by an identity.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_is_published() {
    let w = World::new("published").await;
    filled(&w).await;
    made_slowly(&w, 2000, T);
    w.cli("prepare", &[]).await.assert_code(0);
    w.target.batch("create publication everything for all tables").await;
    let d = Daemon::run(&w);
    under_way(&w, "t").await;
    w.source.batch("update t set n = n + 1 where id <= 300").await;
    is_still_loaded(&w).await;
    assert!(came_twice(&w, &d).await);
    complete(&w).await;
}

/// The others' changes flow meanwhile, and the source keeps what the loaded table lacks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_stream_goes_on_beside_a_load() {
    let w = World::new("beside").await;
    filled(&w).await;
    w.both("create table other (id int primary key, v int)").await;
    made_slowly(&w, 1000, &format!("[[table]]\nsource = 'public.other'\n{T}"));
    let d = Daemon::run(&w);
    under_way(&w, "t").await;
    let lacks = "select split_part(lacks_from, '/', 1) from tablelift.table_state where target_name = 't'";
    let before = w.target.text(lacks).await;
    for n in 1..=20 {
        w.source.batch(&format!("update t set n = {n} where id % 20 = {n} - 1; insert into other values ({n}, {n})")).await;
    }
    eventually("the others' changes arrive", PATIENCE, async || w.target.number("select count(*) from other").await == 20).await;
    is_still_loaded(&w).await;
    assert_eq!(w.target.text(lacks).await, before);
    d.kill9();
    w.expect_log("slot");
    let _d = Daemon::run(&w);
    is_still_loaded(&w).await;
    w.source.batch("update other set v = -v; update t set n = -n where id % 3 = 0").await;
    complete(&w).await;
    w.equal("table other").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_in_a_load() {
    let w = World::new("load-storm").await;
    filled(&w).await;
    made_slowly(&w, 2500, T);
    let d = Daemon::run(&w);
    under_way(&w, "t").await;
    w.source.each(&STORM[..6]).await;
    is_still_loaded(&w).await;
    let whole = recorded(&w, "t").await;
    w.source.each(&STORM[6..]).await;
    is_still_loaded(&w).await;
    d.logged("its rows are read again").await;
    assert!(whole > 0);
    complete(&w).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_truncate_in_a_load() {
    let w = World::new("load-truncate").await;
    filled(&w).await;
    made_slowly(&w, 1000, T);
    let _d = Daemon::run(&w);
    under_way(&w, "t").await;
    w.source.batch("update t set n = 5 where id < 100; truncate t").await;
    w.source.batch(&fill(6001, 9000)).await;
    w.source.batch("update t set n = 7 where id % 4 = 0").await;
    is_still_loaded(&w).await;
    complete(&w).await;
}

/// A rewrite has all rows read anew: what was read before must not be there twice, nor stay where it is gone since.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rewrite_in_a_load() {
    let w = World::new("load-rewrite").await;
    filled(&w).await;
    made_slowly(&w, 2000, T);
    let d = Daemon::run(&w);
    under_way(&w, "t").await;
    w.source.batch("delete from t where id < 1000 and id % 2 = 0").await;
    w.source.batch("vacuum full t").await;
    is_still_loaded(&w).await;
    d.logged("its rows are read again").await;
    assert!(!came_twice(&w, &d).await, "nothing moved but by the rewrite");
    complete(&w).await;
}

/// A partition comes with rows that no change brings.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_comes_in_a_load() {
    let w = World::new("load-part").await;
    w.source
        .batch(
            "create table t (id int primary key, u int, n int, pad text, large text) partition by range (id);
             create table t_1 partition of t for values from (0) to (20000);
             create table t_2 (like t including all); insert into t_2 select g, g, 0, 'p', 'l' from generate_series(20000, 20500) g",
        )
        .await;
    w.source.batch(&fill(1, 6000)).await;
    w.source.batch("alter table t add unique (id, u); create index on t (n, id); analyze t").await;
    made_slowly(&w, 1500, T);
    let _d = Daemon::run(&w);
    under_way(&w, "t").await;
    w.source.batch("alter table t attach partition t_2 for values from (20000) to (30000)").await;
    w.source.batch("update t set n = n + 1 where id % 10 = 0").await;
    is_still_loaded(&w).await;
    arrived(&w, &["t"]).await;
}

async fn waits_for_its_key(w: &World) -> bool {
    let sql = "select count(*) from pg_stat_activity where datname = current_database() and query like 'ALTER TABLE%PRIMARY KEY%'
               and wait_event_type = 'Lock'";
    w.target.try_text(sql).await.is_ok_and(|count| count != "0")
}

/// Keeps the target's table locked, so that its key is waited for.
async fn reader(target: &Db) -> tokio_postgres::Client {
    let session = target.session().await;
    session.batch_execute("begin; lock table t in access share mode").await.unwrap();
    session
}

/// Killed in the load, when its rows are there and its key is not, and when its key is there and nobody has recorded it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_every_step() {
    let w = World::new("load-killed").await;
    filled(&w).await;
    for text in ["slot", "again", "another session holds the table"] {
        w.expect_log(text);
    }
    made_slowly(&w, 2500, T);
    let d = Daemon::run(&w);
    under_way(&w, "t").await;
    // no row moves: a key that rows stand against is built by nobody but us
    w.source.batch("delete from t where id % 100 = 3").await;
    is_still_loaded(&w).await;
    d.kill9();
    // the rows are there, the key waits
    let session = reader(&w.target).await;
    let d = Daemon::run(&w);
    eventually("its key is waited for", PATIENCE, async || waits_for_its_key(&w).await).await;
    is_still_loaded(&w).await;
    assert_eq!(w.table("public.t").await["waiting_for"], "being built: primary key `t_pkey`");
    w.source.batch("update t set id = id + 50000 where id % 100 = 4").await;
    d.kill9();
    eventually("its server gives up", PATIENCE, async || !waits_for_its_key(&w).await).await;
    // its server builds it to the end, for nobody
    let d = Daemon::run(&w);
    eventually("its key is waited for", PATIENCE, async || waits_for_its_key(&w).await).await;
    d.kill9();
    session.batch_execute("commit").await.unwrap();
    let built = "select count(*) from pg_index, tablelift.after_load where indrelid = 't'::regclass and indisprimary and kind = 'key' and done_at is null";
    eventually("it is built, and not recorded", PATIENCE, async || w.target.text(built).await == "1").await;
    w.source.batch("update t set n = -1 where id % 100 = 5; insert into t values (99999, null, 0, 'p', 'l')").await;
    let _d = Daemon::run(&w);
    complete(&w).await;
}

/// An application at full speed, and a daemon that dies over and over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigkills_in_a_load_under_traffic() {
    let w = World::new("load-kills").await;
    Load::prepare(&w).await;
    w.target.batch("drop table load_rows, load_accounts, load_journal").await;
    filled(&w).await;
    for text in ["retry", "again", "connect", "closed", "slot", "shut", "another session holds the table"] {
        w.expect_log(text);
    }
    made_slowly(&w, 1500, &format!("{}{T}", Load::tables()));
    let load = Load::start(&w, 2);
    eventually("some traffic", PATIENCE, async || load.committed() > 200).await;
    let storm = {
        let source = w.source.clone();
        tokio::spawn(async move {
            for sql in STORM {
                source.batch(sql).await;
                tokio::time::sleep(Duration::from_millis(400)).await;
            }
        })
    };
    for moment in 0..8 {
        let d = Daemon::run(&w);
        tokio::time::sleep(Duration::from_millis(400 + moment * 137)).await;
        d.kill9();
    }
    storm.await.unwrap();
    for n in 0..4 {
        let d = Daemon::run(&w);
        under_way(&w, "t").await;
        w.source.batch(&format!("update t set n = n + 10 where id % 4 = {n}")).await;
        let before = load.committed();
        eventually("others' changes come behind it", PATIENCE, async || load.committed() > before + 100).await;
        d.kill9();
    }
    let _d = Daemon::run(&w);
    load.stop().await;
    complete(&w).await;
    Load::equal(&w).await;
    let keys =
        "select count(*) from pg_index where indisprimary and indrelid in ('load_rows'::regclass, 'load_accounts'::regclass)";
    assert_eq!(w.target.text(keys).await, "2");
}
