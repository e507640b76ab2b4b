//! `check` of the publications: whether they can be made, and what a person's own lacks.

use crate::both_logs;
use crate::preflight::{check, role};
use crate::support::{Daemon, PATIENCE, Side, World, eventually};

#[tokio::test]
async fn the_right_to_replicate_is_tried() {
    let w = World::new("replicate").await;
    w.both("create table t (id int primary key)").await;
    let (role, url) = role(&w.source, &w, "mover", "").await;
    *w.source_url.lock().unwrap() = url;
    w.connector("[[table]]\nsource = 'public.t'");
    let found = check(&w).await;
    assert_eq!(found.errors(), ["source.replication_right", "publication.not_creatable", "table.source_right"]);
    let remedy = found.remedy("source.replication_right");
    for form in ["ALTER ROLE", "GRANT rds_replication TO", "ALTER USER", "azure_pg_admin"] {
        assert!(remedy.contains(form), "{remedy}");
    }
    let publication = found.remedy("publication.not_creatable");
    assert!(found.what("publication.not_creatable").contains("has no CREATE on database"), "{publication}");
    for code in ["source.replication_right", "publication.not_creatable", "table.source_right"] {
        w.source.batch(&found.remedy(code)).await;
    }
    assert_eq!(check(&w).await.errors(), [""; 0]);
    // Made for us by the tables' owner, it is ours to follow; another table needs its owner again.
    w.both("create table u (id int primary key)").await;
    w.source.batch(&format!("grant select on u to {role}")).await;
    w.connector("[[table]]\nsource = 'public.*'");
    let found = check(&w).await;
    assert_eq!(found.errors(), ["publication.incomplete"]);
    w.source.batch(&found.remedy("publication.incomplete")).await;
    assert_eq!(check(&w).await.errors(), [""; 0]);
}

#[tokio::test]
async fn a_persons_own_publication_is_told_what_it_lacks() {
    let w = World::new("own-publication").await;
    w.both("create table t (id int primary key, v text); create table log (v text); create table p (id int primary key)").await;
    w.source.batch("drop table p; create table p (id int primary key) partition by range (id)").await;
    w.source.batch("create table p1 partition of p for values from (0) to (9)").await;
    let entries =
        "[[table]]\nsource = 'public.t'\n[[table]]\nsource = 'public.p'\n[[table]]\nsource = 'public.log'\ninsert_only = true";
    w.connector_with(|f| f.source += "publication = 'mine'\n", entries);
    let found = check(&w).await;
    assert_eq!(found.errors(), ["publication.missing", "publication.missing"]);
    if Side::Source.major() < 15 {
        return; // neither filters nor lists
    }
    w.source.batch("create publication mine for table t (id) where (id > 5), log with (publish = 'insert, delete')").await;
    let found = check(&w).await;
    let expected = [
        "publication.incomplete",
        "publication.operations",
        "publication.via_root",
        "publication.row_filter",
        "publication.column_list",
        "publication.missing",
        "publication.publishes_updates",
    ];
    assert_eq!(found.errors(), expected);
    // the filter goes with the list
    for code in expected.iter().filter(|code| !["publication.missing", "publication.column_list"].contains(*code)) {
        w.source.batch(&found.remedy(code)).await;
    }
    w.source.batch("create publication mine_inserts for table log with (publish = 'insert, truncate')").await;
    assert_eq!(check(&w).await.errors(), [""; 0]);
    assert_eq!(w.source.text("select pubupdate, pubtruncate from pg_publication where pubname = 'mine'").await, "t|t");
}

// What nothing tells the rows of is in no publication that we propose: its application goes on.
#[tokio::test]
async fn tables_that_would_refuse_updates_are_not_published() {
    let w = World::new("mute").await;
    w.both("create table t (id int primary key); create table bare (a int); create table uniq (a int not null unique, b int)")
        .await;
    w.source.batch("insert into bare values (1); insert into uniq values (1)").await;
    let entries = "[[table]]\nsource = 'public.*'\nexclude = ['public.stranger']";
    w.connector_with(|f| f.source += "publication = 'mine'\n", entries);
    let found = check(&w).await;
    assert_eq!(found.errors(), ["publication.missing", "table.no_key", "table.no_key"]);
    assert!(found.what("table.exclude_unknown").contains("`public.stranger`"));
    w.source.batch(&found.remedy("publication.missing")).await;
    w.source.batch("update bare set a = 2; update uniq set b = 2; delete from bare").await;
    for finding in found.0.iter().filter(|finding| finding["code"] == "table.no_key") {
        w.source.batch(finding["remedy"]["text"].as_str().unwrap()).await;
    }
    assert_eq!(w.source.text("select relreplident from pg_class where relname = 'uniq'").await, "i");
    let found = check(&w).await;
    assert_eq!(found.errors(), ["publication.incomplete"]);
    w.source.batch(&found.remedy("publication.incomplete")).await;
    let found = check(&w).await;
    assert_eq!(found.errors(), [""; 0]);
    assert!(!found.has("publication.publishes_updates"));
    w.source.batch("create table stranger (a int); alter publication mine add table stranger").await;
    let found = check(&w).await;
    assert_eq!(found.errors(), [""; 0]);
    assert!(!found.has("table.exclude_unknown"));
    w.source.batch(&found.remedy("publication.publishes_updates")).await;
    assert!(!check(&w).await.has("publication.publishes_updates"));
}

// The application's own UPDATEs fail while a table without a key is published: it is taken out within seconds, whatever that costs us.
both_logs!(an_application_goes_on_when_its_key_goes, |w| {
    w.both("create table t (id int primary key, v text); create table other (id int primary key)").await;
    w.source.batch("insert into t select g, 'a' from generate_series(1, 5) g").await;
    w.connector("[[table]]\nsource = 'public.*'");
    w.expect_log("halt");
    let d = Daemon::run(&w);
    w.settle().await;
    w.source.batch("alter table t drop constraint t_pkey").await;
    let update = "update t set v = 'b' where id = 2";
    assert!(w.source.try_batch(update).await.is_err(), "it is published");
    eventually("the application goes on", PATIENCE, async || w.source.try_batch(update).await.is_ok()).await;
    eventually("it is halted", PATIENCE, async || w.table("public.t").await["state"] == "halted").await;
    w.source.batch("insert into other values (1)").await;
    eventually("the other goes on", PATIENCE, async || w.target.text("select count(*) from other").await == "1").await;
    w.source.batch("alter table t add primary key (id)").await;
    d.hup();
    d.logged("the publication did not carry all of the table for a while").await;
    assert!(d.is_running());
});

// Up to 14 it has to be altered where partitions come: the stream may take a table for what it was.
#[tokio::test]
async fn a_partitioned_tables_own_publication_can_be_altered() {
    if Side::Source.major() >= 15 {
        return;
    }
    let w = World::new("alterable").await;
    w.both(
        "create table t (id int primary key) partition by range (id); create table t_1 partition of t for values from (0) to (9)",
    )
    .await;
    w.target.batch("create table t_2 partition of t default").await;
    let (role, url) = role(&w.source, &w, "mover", "replication").await;
    w.source.batch("create publication mine for table t with (publish_via_partition_root = true)").await;
    w.source.batch(&format!("alter default privileges grant select on tables to {role}; grant select on t, t_1 to {role}")).await;
    *w.source_url.lock().unwrap() = url;
    w.connector_with(|f| f.source += "publication = 'mine'\n", "[[table]]\nsource = 'public.t'");
    let found = check(&w).await;
    assert_eq!(found.errors(), ["publication.not_alterable"]);
    w.source.batch(&found.remedy("publication.not_alterable")).await;
    assert_eq!(check(&w).await.errors(), [""; 0]);
    let d = Daemon::run(&w);
    w.settle().await;
    // somebody takes it back
    w.expect_log("may not alter it");
    w.source
        .batch("alter publication mine owner to postgres; create table t_2 (like t including all); insert into t_2 values (9)")
        .await;
    w.source.batch("alter table t attach partition t_2 for values from (9) to (20)").await;
    eventually("it halts", PATIENCE, async || w.table("public.t").await["state"] == "halted").await;
    let table = w.table("public.t").await;
    assert!(table["hint"].as_str().unwrap().contains("ALTER PUBLICATION \"mine\" OWNER TO"), "{table}");
    w.source.batch(&found.remedy("publication.not_alterable")).await;
    w.source.batch("insert into t values (10)").await;
    d.hup();
    eventually("it follows", PATIENCE, async || w.table("public.t").await["state"] == "follow").await;
    w.settle().await;
    w.equal("table t").await;
}
