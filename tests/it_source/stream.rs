//! What the stream says.

use crate::support::{PATIENCE, World, eventually};
use crate::tap::{Tap, count, next, start};
use std::time::Duration;
use tablelift::change::{Cell, EndLsn, Feed};
use tablelift::source::emit_mark;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_operation() {
    let tap = Tap::new("ops", "create table t (id int primary key, v text)").await;
    let mut reader = tap.read().await;
    let db = tap.db();
    db.batch("insert into t values (1, 'a'), (2, null), (3, '')").await;
    db.batch("update t set v = 'b' where id = 1; update t set id = 4 where id = 2").await;
    db.batch("begin; delete from t where id = 3; savepoint s; insert into t values (9, 'gone'); rollback to s; commit").await;
    let told = tap.told(&mut reader).await;
    assert_eq!(
        told,
        "begin\nshape t Default id* v\n0 Insert t -> 1,a\n2 Insert t -> 2,-\n4 Insert t -> 3,\ncommit\n\
         begin\n0 Update t -> 1,b\n2 Update t key 2,- -> 4,-\ncommit\n\
         begin\n0 Delete t key 3,-\ncommit"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replica_identities_and_unchanged_values() {
    let ddl = "create table d (id int primary key, large text, n int);
        create table f (like d including all); alter table f replica identity full;
        create table i (like d including all); alter table i alter n set not null;
        create unique index by_n on i (n); alter table i replica identity using index by_n;
        create table k (id text primary key, n int); alter table k alter id set storage external;
        alter table d alter large set storage external; alter table f alter large set storage external;
        alter table i alter large set storage external";
    let tap = Tap::new("toast", ddl).await;
    let db = tap.db();
    for table in ["d", "f", "i"] {
        db.batch(&format!("insert into {table} values (1, repeat('x', 9000), 1)")).await;
    }
    db.batch("insert into k values (repeat('k', 2500), 1)").await;
    let mut reader = tap.read().await;
    tap.told(&mut reader).await;
    for table in ["d", "f", "i"] {
        db.each(&[
            &format!("update {table} set n = 2"),
            &format!("update {table} set id = 7"),
            &format!("update {table} set large = repeat('y', 8000)"),
            &format!("delete from {table}"),
        ])
        .await;
    }
    db.batch("update k set n = 2").await;
    let told = tap.told(&mut reader).await.replace("begin\n", "").replace("\ncommit", "");
    let expected = [
        "0 Update d -> 1,~,2",
        "0 Update d key 1,-,- -> 7,~,2",
        "0 Update d -> 7,<8000>,2",
        "0 Delete d key 7,-,-",
        "0 Update f full 1,<9000>,1 -> 1,<9000>,2",
        "0 Update f full 1,<9000>,2 -> 7,<9000>,2",
        "0 Update f full 7,<9000>,2 -> 7,<8000>,2",
        "0 Delete f full 7,<8000>,2",
        "0 Update i key -,-,1 -> 1,~,2",
        "0 Update i -> 7,~,2",
        "0 Update i -> 7,<8000>,2",
        "0 Delete i key -,-,2",
        "0 Update k key <2500>,- -> <2500>,2",
    ];
    assert_eq!(told.lines().collect::<Vec<_>>(), expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn truncates_marks_and_what_is_not_ours() {
    let ddl = "create table a (id int primary key); create table b (id int primary key); create unlogged table u (id int);
        create table parted (id int, r int, primary key (r, id)) partition by list (r);
        create table p1 partition of parted for values in (1); create table p2 partition of parted for values in (2)";
    let tap = Tap::new("marks", ddl).await;
    let mut reader = tap.read().await;
    let db = tap.db();
    db.batch("begin; insert into a values (1); truncate a, b; insert into b values (2); commit").await;
    db.batch("select pg_logical_emit_message(false, 'tablelift', 'x'), pg_logical_emit_message(true, 'other', 'y')").await;
    db.each(&["insert into u values (1)", "create table later (id int primary key)", "insert into later values (5)"]).await;
    db.batch("insert into parted values (1, 1), (2, 2); update parted set r = 2 where id = 1").await;
    let told = tap.told(&mut reader).await;
    let rows: Vec<_> = told.lines().filter(|line| line.starts_with(|first: char| first.is_ascii_digit())).collect();
    assert_eq!(
        rows,
        [
            "0 Insert a -> 1",
            "2 Truncate a",
            "4 Truncate b",
            "6 Insert b -> 2",
            "0 Insert later -> 5",
            "0 Insert parted -> 1,1",
            "2 Insert parted -> 2,2",
            "4 Delete parted key 1,1",
            "6 Insert parted -> 1,2",
        ]
    );
    assert!(told.contains("shape parted Default id* r*"), "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_shape_comes_before_its_rows() {
    let tap = Tap::new("shape", "create table t (id int primary key, gone int, v text)").await;
    let mut reader = tap.read().await;
    let db = tap.db();
    db.batch("insert into t values (1, 2, 'a')").await;
    db.batch("begin; alter table t drop column gone; alter table t add w int default 5; insert into t values (2, 'b'); commit")
        .await;
    db.batch("alter table t replica identity full").await;
    db.batch("delete from t where id = 2").await;
    let told = tap.told(&mut reader).await;
    let rows: Vec<_> = told.lines().filter(|line| !["begin", "commit"].contains(line)).collect();
    assert_eq!(
        rows,
        [
            "shape t Default id* gone v",
            "0 Insert t -> 1,2,a",
            "shape t Default id* v w",
            "0 Insert t -> 2,b,5",
            "shape t Full id* v* w*",
            "0 Delete t full 2,b,5",
        ]
    );
}

/// Confirmed is confirmed, and what was not comes again at the same positions.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn confirmation_moves_the_slot_and_the_rest_comes_again() {
    let tap = Tap::new("confirm", "create table t (id int primary key)").await;
    tap.db().each(&["insert into t values (1)", "insert into t values (2)", "insert into t values (3)"]).await;
    let read = async |reader: &mut tablelift::source::Reader, many: usize| {
        let (mut ends, mut positions) = (Vec::new(), Vec::new());
        while ends.len() < many {
            for feed in next(reader).await {
                match feed {
                    Feed::Commit { end, .. } => ends.push(end),
                    Feed::Change(change) => positions.push(change.position),
                    _ => {}
                }
            }
        }
        (ends, positions)
    };
    let mut reader = tap.read().await;
    let (ends, positions) = read(&mut reader, 3).await;
    reader.feedback().confirm(ends[0]);
    drop(reader); // the last word is still sent
    eventually("the slot is free", PATIENCE, async || !tap.active().await).await;
    assert_eq!(tap.confirmed().await, ends[0]);

    let mut reader = tap.read().await;
    assert_eq!(reader.confirmed_at_start(), ends[0]);
    let (again, positions_again) = read(&mut reader, 2).await;
    assert_eq!((&again[..], &positions_again[..]), (&ends[1..], &positions[1..]));
    reader.feedback().confirm(ends[2]);
    reader.feedback().confirm(ends[1]);
    eventually("the slot has moved", Duration::from_secs(2), async || tap.confirmed().await == ends[2]).await;
}

/// Nothing of ours happens, but the source works on: keepalives carry the slot along.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keepalives_tell_how_far_an_idle_stream_is() {
    let tap = Tap::new("idle", "create unlogged table noise (v text)").await;
    let mut reader = tap.read().await;
    let goal = emit_mark(&tap.db().session().await).await.unwrap();
    tap.db().batch("insert into noise select g from generate_series(1, 1000) g; select pg_switch_wal()").await;
    let mut reached = EndLsn::default();
    while reached <= goal {
        for feed in next(&mut reader).await {
            match feed {
                Feed::Keepalive { end } => reached = end,
                Feed::Commit { end, .. } => assert!(end > goal, "the mark ends behind the position drawn with it"),
                _ => {}
            }
        }
    }
    reader.feedback().confirm(reached);
    eventually("the slot has moved", Duration::from_secs(2), async || tap.confirmed().await >= goal).await;
}

/// Two open rows of 20 MB through 1 MiB, and small ones around them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_beyond_the_budget_passes() {
    let tap = Tap::new("large", "create table t (id int primary key, v text)").await;
    let db = tap.db();
    db.batch("insert into t select g, 'small' from generate_series(1, 1000) g").await;
    db.batch("insert into t select -g, repeat(g::text, 20000000) from generate_series(1, 2) g").await;
    db.batch("insert into t select g, 'small' from generate_series(1001, 2000) g").await;
    let mut config = tap.config();
    config.budget = 1 << 20;
    let mut reader = start(config).await.unwrap();
    emit_mark(&db.session().await).await.unwrap();
    assert_eq!(count(&mut reader).await.0, 2002);
}

/// The process's resident memory in MiB, now.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() / 256
}

/// 500,000 rows of one transaction, and 500 of 500 kB, before a consumer that stands still and then reads.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_is_bounded_whatever_the_transaction() {
    let tap = Tap::new("memory", "create table t (id int primary key, v text)").await;
    let db = tap.db();
    db.batch("insert into t select g, md5(g::text) from generate_series(1, 500000) g").await;
    db.batch("insert into t select -g, repeat(md5(g::text), 16000) from generate_series(1, 500) g").await;
    let before = resident();
    let mut reader = tap.read().await;
    emit_mark(&db.session().await).await.unwrap();
    let first = next(&mut reader).await;
    tokio::time::sleep(Duration::from_secs(3)).await; // it fills up
    let stalled = resident();
    drop(first);
    let (changes, _) = count(&mut reader).await;
    let after = resident();
    assert!(changes > 500_000 - 6000 && changes <= 500_500, "{changes}");
    assert!(stalled < before + 60 && after < before + 80, "MiB: {before} before, {stalled} stalled, {after} after");
}

/// Two publications, of which one carries inserts only; a source with SQL_ASCII text.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_publications_and_bytes_that_are_no_text() {
    let world = World::new("two_pubs").await;
    let ascii = format!("{}_ascii", world.source.name);
    world.source.batch(&format!("create database {ascii} encoding 'SQL_ASCII' locale 'C' template template0")).await;
    let db = crate::support::Db::new(world.source.port, &ascii);
    db.batch("create table a (id int primary key, v text); create table b (id int, v text)").await;
    db.batch("create publication \"it's\\ \"\"p\"\"\" for table a; create publication i for table b with (publish = 'insert, truncate')").await;
    let slot = tablelift::source::SlotName::new(&ascii).unwrap();
    let mut connection = crate::tap::connection(&db).await;
    connection.create_slot(&slot, tablelift::source::SlotKind::Permanent, tablelift::source::SnapshotUse::None).await.unwrap();
    db.batch(
        "insert into a values (1, e'\\xff'); insert into b values (1, 'b'); update b set v = 'c'; delete from b; truncate b",
    )
    .await;
    let endpoint = crate::tap::endpoint(&db, db.port);
    let config = tablelift::source::ReaderConfig::new(endpoint, "test", slot, vec!["it's\\ \"p\"".into(), "i".into()]);
    let mut reader = start(config).await.unwrap();
    emit_mark(&db.session().await).await.unwrap();
    let mut told = Vec::new();
    'all: loop {
        for feed in next(&mut reader).await {
            match feed {
                Feed::Change(change) => {
                    let last = change.after.as_ref().and_then(|row| row.cells().last());
                    assert!(change.table.name.name == "b" || last == Some(Cell::Text(b"\xff")));
                    told.push((change.op, change.table.name.name.clone(), change.position.ordinal));
                }
                Feed::Mark => break 'all,
                _ => {}
            }
        }
    }
    use tablelift::change::Op::{Insert, Truncate};
    assert_eq!(told, [(Insert, "a".into(), 0), (Insert, "b".into(), 2), (Truncate, "b".into(), 4)]);
}
