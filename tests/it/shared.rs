//! Several source tables fill one target table.

use crate::both_logs;
use crate::support::{Daemon, PATIENCE, World, eventually};

const ALL: &str = "table orders";

fn entry(origin: &str) -> String {
    format!("[[table]]\nsource = 'public.orders_{origin}'\ntarget = 'public.orders'\n[table.columns]\norigin = \"'{origin}'\"\n")
}

async fn tables(w: &World) {
    w.target.batch("create table orders (origin text, id int, v text, primary key (origin, id))").await;
    for origin in ["eu", "us"] {
        let sql = format!(
            "create table orders_{origin} (id int primary key, v text); insert into orders_{origin} select g, '{origin}' from generate_series(1, 500) g"
        );
        w.source.batch(&sql).await;
    }
}

async fn arrived(w: &World) {
    w.settle_at_last().await;
    w.equal_as("select 'eu' as origin, * from orders_eu union all select 'us', * from orders_us", ALL).await;
}

// The second entry comes when the first one's rows are there; and it goes again.
both_logs!(a_second_one_comes_and_goes, |w| {
    tables(&w).await;
    w.connector(&entry("eu"));
    w.expect_log("left the connector file");
    let d = Daemon::run(&w);
    w.settle().await;
    w.equal_as("select 'eu' as origin, * from orders_eu", ALL).await;
    w.source.batch("insert into orders_us values (1000, 'before it is followed')").await;
    w.connector(&(entry("eu") + &entry("us")));
    d.hup();
    eventually("it is known", PATIENCE, async || w.status().await["tables"].as_array().is_some_and(|tables| tables.len() == 2))
        .await;
    arrived(&w).await;
    assert_eq!(w.table("public.orders_eu").await["target"], "public.orders");
    assert_eq!(w.table("public.orders_us").await["target"], "public.orders (public.orders_us)");
    w.source
        .batch("truncate orders_us; insert into orders_us values (7, 'seven'); update orders_eu set v = 'w' where id < 10")
        .await;
    arrived(&w).await;
    w.connector(&entry("eu"));
    d.hup();
    eventually("it is forgotten", PATIENCE, async || {
        w.status().await["tables"].as_array().is_some_and(|tables| tables.len() == 1)
    })
    .await;
    w.source.batch("insert into orders_us values (8, 'not followed'); delete from orders_eu where id > 400").await;
    w.settle().await;
    let left = "select 'eu' as origin, * from orders_eu union all select 'us', * from orders_us where id = 7";
    w.equal_as(left, ALL).await;
    // its rows stay, whatever becomes of the other's
    w.source.batch("truncate orders_eu; insert into orders_eu values (1, 'alone')").await;
    w.settle().await;
    w.equal_as(left, ALL).await;
});

// One is read once more: rows that its source does not have go, the other's stay.
both_logs!(one_is_read_again, |w| {
    tables(&w).await;
    w.connector(&(entry("eu") + &entry("us")));
    let _d = Daemon::run(&w);
    w.settle().await;
    w.target.batch("insert into orders values ('us', 9000, 'stray'); update orders set v = 'wrong' where id between 10 and 20; delete from orders where id = 30").await;
    for table in ["public.orders_us", "public.orders_eu"] {
        w.cli("resync", &["--table", table]).await.assert_code(0);
        arrived_of(&w, table).await;
    }
    arrived(&w).await;
});

async fn arrived_of(w: &World, table: &str) {
    let origin = table.rsplit('_').next().expect("a name has an end");
    w.settle_at_last().await;
    w.equal_as(
        &format!("select '{origin}' as origin, * from {table}"),
        &format!("select * from orders where origin = '{origin}'"),
    )
    .await;
}

// Rows of an entry that is new are somebody's.
both_logs!(rows_that_are_there_are_not_mixed_with, |w| {
    tables(&w).await;
    w.connector(&entry("eu"));
    w.expect_log("not empty");
    let d = Daemon::run(&w);
    w.settle().await;
    w.target.batch("insert into orders values ('us', 1, 'somebody wrote this')").await;
    w.connector(&(entry("eu") + &entry("us")));
    d.hup();
    d.logged("is not empty").await;
    w.source.batch("insert into orders_eu values (600, 'goes on')").await;
    eventually("the first goes on", PATIENCE, async || {
        w.target.text("select count(*) from orders where origin = 'eu'").await.contains("501")
    })
    .await;
    w.target.batch("delete from orders where origin = 'us'").await;
    d.hup();
    arrived(&w).await;
    let status = w.status().await;
    assert!(status["tables"].as_array().unwrap().iter().all(|table| table["state"] == "follow"), "{status:#}");
});
