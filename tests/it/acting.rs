//! What the target's tables do by themselves to what we write.

use crate::preflight::check;
use crate::support::{Daemon, PATIENCE, World, eventually};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_would_take_our_rows_is_refused() {
    let w = World::new("acting").await;
    w.both("create table t (id int primary key, v text); create table born (id int primary key)").await;
    w.source.batch("insert into t select g, 'a' from generate_series(1, 9) g; drop table born").await;
    w.target
        .batch(
            "alter table t set unlogged; create rule stays as on delete to t do instead nothing; alter table t enable always rule stays;
             create trigger mine before update on t for each row execute function suppress_redundant_updates_trigger();
             alter table t enable always trigger mine;
             create rule stays as on delete to born do instead nothing; alter table born enable replica rule stays",
        )
        .await;
    w.connector("[[table]]\nsource = 'public.*'");
    let found = check(&w).await;
    let mut errors = found.errors();
    errors.sort_unstable();
    assert_eq!(errors, ["table.target_rule", "table.target_unlogged"]);
    for code in ["table.target_rule", "table.target_unlogged", "table.target_trigger"] {
        w.target.batch(&found.remedy(code)).await;
    }
    let found = check(&w).await;
    assert_eq!(found.errors(), [""; 0]);
    assert!(!found.has("table.target_trigger"));
    w.target.batch("alter table t enable rule stays").await;
    w.connector_with(|f| f.target += "triggers = 'fire'\n", "[[table]]\nsource = 'public.*'");
    assert!(check(&w).await.has("table.target_rule"), "those of the origin do, where triggers fire");
    w.target.batch("alter table t disable rule stays").await;
    w.connector("[[table]]\nsource = 'public.*'");
    w.expect_log("halted");
    let _d = Daemon::run(&w);
    w.settle().await;
    w.source.batch("delete from t where id > 5; create table born (id int primary key); insert into born values (1)").await;
    let because = async || w.table("public.born").await["halted_because"].as_str().unwrap_or_default().to_owned();
    eventually("a table that comes is held off", PATIENCE, async || {
        let known = w.status().await["tables"].as_array().is_some_and(|all| all.len() == 2);
        known && because().await.contains("the rule `stays`")
    })
    .await;
    w.target.batch("alter table born disable rule stays").await;
    eventually("it comes", PATIENCE, async || w.target.text("select count(*) from born").await == "1").await;
    w.settle_at_last().await;
    w.equal("table t").await;
}
