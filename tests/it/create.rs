//! `create = "missing"`: target tables made as the mapping implies, and what follows their load.

mod missing_types;

use crate::both_logs;
use crate::support::{Daemon, Log, PATIENCE, Side, World, eventually};
use serde_json::Value;

/// The connector's file with `create = "missing"`.
pub fn creates(w: &World, tables: &str) {
    w.connector_with(|f| f.target += "create = \"missing\"\n", tables);
}

pub async fn findings(w: &World) -> Vec<Value> {
    w.cli("check", &["--json"]).await.json()["findings"].as_array().unwrap().clone()
}

pub fn codes<'a>(findings: &'a [Value], level: &str) -> Vec<&'a str> {
    findings.iter().filter(|finding| finding["level"] == level).map(|finding| finding["code"].as_str().unwrap()).collect()
}

#[track_caller]
fn what<'a>(findings: &'a [Value], code: &str) -> &'a str {
    let found = findings.iter().find(|finding| finding["code"] == code).unwrap_or_else(|| panic!("no {code} in {findings:#?}"));
    found["what"].as_str().unwrap()
}

/// What psql would show of a table: columns, then indexes and constraints.
const SHAPE: &str = "select a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity,
    pg_get_expr(d.adbin, d.adrelid) from pg_attribute a left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
    where a.attrelid = '{}'::regclass and a.attnum > 0 order by a.attnum";
const CONSTRAINTS: &str = "select conname, pg_get_constraintdef(oid), convalidated from pg_constraint
    where conrelid = '{}'::regclass and contype <> 'n' order by 1";
const INDEXES: &str =
    "select indexdef from pg_indexes where format('%I.%I', schemaname, tablename)::regclass = '{}'::regclass order by 1";

async fn target(w: &World, sql: &str, table: &str) -> String {
    w.target.text(&sql.replace("{}", table)).await
}

/// Nothing is left to be built.
async fn finished(w: &World) {
    let open = "select count(*) from tablelift.after_load where done_at is null";
    eventually("what follows the load is done", PATIENCE, async || w.target.text(open).await == "0").await;
}

const SHOP: &str = "
    create table customers (id serial primary key, email varchar(80) not null unique, born date);
    create table orders (
        id bigint generated always as identity primary key, customer_id int not null references customers on delete cascade,
        code varchar(12) default 'none' not null, amount numeric(12,2) not null default 0, at timestamptz default now(),
        tags text[] default '{}', doc jsonb, lower_bound float8 default '-infinity', mail text collate \"C\", region text not null,
        constraint amount_not_negative check (amount >= 0), unique (customer_id, code));
    create index orders_open on orders (at desc nulls last) where amount > 0;
    create index orders_lower on orders (lower(code));
    create index orders_tags on orders using gin (tags);
    insert into customers (email) select 'c' || g || '@x' from generate_series(1, 50) g;
    insert into orders (customer_id, code, amount, region) select 1 + g % 50, 'o' || g, g, 'EU' from generate_series(1, 500) g;";

both_logs!(tables_as_they_are, |w| {
    w.source.batch(SHOP).await;
    creates(&w, "[[table]]\nsource = 'public.*'\ntarget = 'shop.*'");
    let found = findings(&w).await;
    assert_eq!(codes(&found, "error"), [""; 0], "{found:#?}");
    assert!(what(&found, "target.tables_made").contains("`shop.customers`, `shop.orders`"));
    assert!(what(&found, "table.target_sequence").contains("`id`") && what(&found, "table.target_identity").contains("`id`"));
    assert_eq!(w.target.text("select to_regnamespace('shop') is null, to_regnamespace('tablelift') is null").await, "t|t");
    let d = Daemon::run(&w);
    w.settle().await;
    w.source.batch("insert into customers (email) values ('new'); update orders set amount = amount + 1 where id < 10; delete from orders where id = 20").await;
    w.settle().await;
    for table in ["customers", "orders"] {
        w.equal_as(&format!("table {table}"), &format!("table shop.{table}")).await;
    }
    finished(&w).await;
    assert_eq!(
        target(&w, SHAPE, "shop.orders").await,
        "id|bigint|t|a|<null>\ncustomer_id|integer|t||<null>\ncode|character varying(12)|t||'none'::character varying\n\
         amount|numeric(12,2)|t||0\nat|timestamp with time zone|f||now()\ntags|text[]|f||'{}'::text[]\ndoc|jsonb|f||<null>\n\
         lower_bound|double precision|f||'-Infinity'::double precision\nmail|text|f||<null>\nregion|text|t||<null>"
    );
    let collation = "select collation_name from information_schema.columns where table_name = 'orders' and column_name = 'mail'";
    assert_eq!(w.target.text(collation).await, "C");
    assert_eq!(
        target(&w, CONSTRAINTS, "shop.orders").await,
        "amount_not_negative|CHECK ((amount >= (0)::numeric))|t\n\
         orders_customer_id_code_key|UNIQUE (customer_id, code)|t\n\
         orders_customer_id_fkey|FOREIGN KEY (customer_id) REFERENCES shop.customers(id) ON DELETE CASCADE|t\n\
         orders_pkey|PRIMARY KEY (id)|t"
    );
    assert_eq!(
        target(&w, INDEXES, "shop.orders").await,
        "CREATE INDEX orders_lower ON shop.orders USING btree (lower((code)::text))\n\
         CREATE INDEX orders_open ON shop.orders USING btree (at DESC NULLS LAST) WHERE (amount > (0)::numeric)\n\
         CREATE INDEX orders_tags ON shop.orders USING gin (tags)\n\
         CREATE UNIQUE INDEX orders_customer_id_code_key ON shop.orders USING btree (customer_id, code)\n\
         CREATE UNIQUE INDEX orders_pkey ON shop.orders USING btree (id)"
    );
    assert_eq!(
        w.target
            .text("select count(*) from pg_stats where schemaname = 'shop' and tablename = 'orders' and attname = 'code'")
            .await,
        "1"
    );
    assert_eq!(w.table("public.orders").await["waiting_for"], Value::Null);
    drop(d);
});

both_logs!(renamed_and_computed, |w| {
    w.source
        .batch(
            "create table t (tenant int, id int, \"Old Name\" text not null, cents int not null check (cents > 0), region text, gone text,
                 twice int generated always as (cents * 2) stored, primary key (tenant, id));
             create index by_name on t (\"Old Name\" text_pattern_ops desc) include (region);
             create unique index by_region on t (region, id);
             create index by_cents on t (cents);
             create index partial on t (region) where \"Old Name\" <> '';
             insert into t (tenant, id, \"Old Name\", cents, region) select 1, g, 'n' || g, g, case when g % 2 = 0 then 'EU' else 'US' end
               from generate_series(1, 100) g",
        )
        .await;
    let columns =
        "[table.columns]\nname = '\"Old Name\"'\ntotal = 'round(cents / 100.0, 2)'\nbig = 'id::bigint'\nsource = \"'legacy'\"\n";
    creates(
        &w,
        &format!("[[table]]\nsource = 'public.t'\ntarget = 'public.u'\nwhere = \"region = 'EU'\"\nignore = ['gone']\n{columns}"),
    );
    let found = findings(&w).await;
    assert_eq!(codes(&found, "error"), [""; 0], "{found:#?}");
    let left: Vec<&str> = found.iter().filter(|f| f["subject"] == "public.u").map(|f| f["what"].as_str().unwrap()).collect();
    for part in [
        "index `by_cents` of the source is left out: it reads column `cents`",
        "index `partial` of the source is left out: it has an expression or a predicate, and column `Old Name` has another name",
        "check `t_cents_check` of the source is left out: it reads column `cents`",
        "`twice` is generated on the source, and not made",
    ] {
        assert!(left.iter().any(|what| what.contains(part)), "no `{part}` in {left:#?}");
    }
    let _d = Daemon::run(&w);
    w.settle().await;
    w.source
        .batch("update t set region = 'EU' where id = 1; update t set cents = 7 where id = 2; delete from t where id = 4")
        .await;
    w.settle().await;
    let same = "select \"Old Name\", round(cents / 100.0, 2), id::bigint, 'legacy', tenant, region from t where region = 'EU'";
    w.equal_as(same, "select name, total, big, source, tenant, region from u").await;
    finished(&w).await;
    assert_eq!(
        target(&w, SHAPE, "u").await,
        "name|text|t||<null>\ntotal|numeric|f||<null>\nbig|bigint|t||<null>\nsource|text|f||<null>\ntenant|integer|t||<null>\nregion|text|f||<null>"
    );
    assert_eq!(
        target(&w, INDEXES, "u").await,
        "CREATE INDEX by_name ON public.u USING btree (name text_pattern_ops DESC) INCLUDE (region)\n\
         CREATE UNIQUE INDEX t_pkey ON public.u USING btree (tenant, big)"
    );
});

both_logs!(hostile_names_are_made, |w| {
    w.source
        .batch(
            r#"create schema "s.1"; create table "s.1"."a""; drop table x; --" ("id'" bigserial primary key, "src" text, "a\b" int check ("a\b" > 0),
                 "select" varchar(3) not null unique, """" jsonb);
               create table "s.1"."USING btree (" ("USING btree (" int primary key, "ref)," bigint references "s.1"."a""; drop table x; --");
               create index "i USING gin (" on "s.1"."USING btree (" ("ref)," desc);
               insert into "s.1"."a""; drop table x; --" values (7, 'x', 1, 'abc', '{}');
               insert into "s.1"."USING btree (" values (1, 7)"#,
        )
        .await;
    creates(&w, "[[table]]\nsource = '\"s.1\".*'\ntarget = '\"T $1\".*'");
    assert_eq!(codes(&findings(&w).await, "error"), [""; 0]);
    let plan = w.cli("plan", &[]).await.assert_code(0).stdout;
    assert!(plan.contains(r#"CREATE SCHEMA IF NOT EXISTS "T $1";"#), "{plan}");
    let _d = Daemon::run(&w);
    w.settle().await;
    for table in [r#""a""; drop table x; --""#, r#""USING btree (""#] {
        w.equal_as(&format!(r#"table "s.1".{table}"#), &format!(r#"table "T $1".{table}"#)).await;
    }
    finished(&w).await;
    assert_eq!(
        target(&w, INDEXES, r#""T $1"."USING btree (""#).await,
        "CREATE INDEX \"i USING gin (\" ON \"T $1\".\"USING btree (\" USING btree (\"ref),\" DESC)\n\
         CREATE UNIQUE INDEX \"USING btree (_pkey\" ON \"T $1\".\"USING btree (\" USING btree (\"USING btree (\")"
    );
    assert_eq!(w.target.text(r#"select count(*) from pg_constraint where connamespace = '"T $1"'::regnamespace and contype in ('f', 'c') and convalidated"#).await, "2");
});

both_logs!(partitioned_becomes_plain, |w| {
    w.source
        .batch(
            "create table p (id int, at date not null, v text, primary key (id, at)) partition by range (at);
             create table p1 partition of p for values from ('2020-01-01') to ('2021-01-01');
             create table p2 partition of p default; create index on p (v);
             insert into p select g, date '2020-06-01' + g * 30, 'v' from generate_series(1, 20) g",
        )
        .await;
    creates(&w, "[[table]]\nsource = 'public.p'");
    assert!(what(&findings(&w).await, "table.target_unpartitioned").contains("partitioned"));
    let _d = Daemon::run(&w);
    w.settle().await;
    w.source.batch("update p set v = 'w' where id = 3; insert into p values (99, '2030-01-01', 'x')").await;
    w.settle().await;
    w.equal("table p").await;
    finished(&w).await;
    assert_eq!(w.target.text("select relkind from pg_class where oid = 'p'::regclass").await, "r");
    assert_eq!(w.target.text("select count(*) from pg_indexes where tablename = 'p'").await, "2");
});

/// What is there is left as it is; `plan` prints the DDL of the others, and an offer for this one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_that_are_there_stay_as_they_are() {
    let w = World::new("create-there").await;
    w.source.batch("create table a (id int primary key, v text unique); create index on a (v, id); create table b (id int primary key references a)").await;
    w.target.batch("create table a (id int primary key, v text, extra int default 7); create index \"My index\" on a (v); alter table a add unique (id, v)").await;
    w.source.batch("insert into a values (1, 'x'); insert into b values (1)").await;
    creates(&w, "[[table]]\nsource = 'public.*'");
    let before = target(&w, INDEXES, "a").await;
    let plan = w.cli("plan", &["--json"]).await.assert_code(0).json();
    let (a, b) = (&plan["tables"][0], &plan["tables"][1]);
    assert_eq!((a["create"].as_array().unwrap().len(), a["after_load"].as_array().unwrap().len()), (0, 0));
    assert_eq!(a["rebuild"]["before"][0], "DROP INDEX \"public\".\"My index\"");
    assert_eq!(a["rebuild"]["after"][1], "ALTER TABLE \"public\".\"a\" ADD CONSTRAINT \"a_id_v_key\" UNIQUE (id, v)");
    let names =
        |list: &Value| list.as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(
        (names(&b["create"]), names(&b["after_load"])),
        (vec!["table".into()], ["key", "analyze", "foreign_key", "validate"].map(String::from).to_vec())
    );
    assert_eq!(
        b["after_load"][2]["sql"],
        "ALTER TABLE \"public\".\"b\" ADD CONSTRAINT \"b_id_fkey\" FOREIGN KEY (\"id\") REFERENCES \"public\".\"a\" (\"id\") NOT VALID"
    );
    let text = w.cli("plan", &[]).await.assert_code(0).stdout;
    for part in [
        "made by `prepare`:",
        "CREATE TABLE \"public\".\"b\"",
        "once its rows are there",
        "VALIDATE CONSTRAINT",
        "an offer, nothing of it is done",
    ] {
        assert!(text.contains(part), "no `{part}` in {text}");
    }
    w.cli("prepare", &[]).await.assert_code(0);
    assert_eq!(w.target.text("select count(*) from tablelift.after_load where kind <> 'key' and done_at is null").await, "3");
    w.cli("run", &["--endpos", "current"]).await.assert_code(0);
    w.equal_as("table a", "select id, v from a").await;
    w.equal("table b").await;
    assert_eq!(target(&w, INDEXES, "a").await, before);
    assert_eq!(target(&w, CONSTRAINTS, "b").await, "b_id_fkey|FOREIGN KEY (id) REFERENCES a(id)|t\nb_pkey|PRIMARY KEY (id)|t");
}

// A table that comes later is made then; one that was there and is gone is not made anew.
both_logs!(a_table_comes_later_and_one_is_gone, |w| {
    w.source.batch("create table a (id int primary key, v text); create index on a (v); insert into a values (1, 'a'); create table b (like a including all)").await;
    creates(&w, "[[table]]\nsource = 'public.a'");
    w.cli("run", &["--endpos", "current"]).await.assert_code(0);
    creates(&w, "[[table]]\nsource = 'public.*'");
    w.source.batch("insert into b values (2, 'b')").await;
    w.cli("run", &["--endpos", "current"]).await.assert_code(0);
    w.equal("table a").await;
    w.equal("table b").await;
    assert_eq!(w.target.text("select count(*) from pg_indexes where tablename in ('a', 'b')").await, "4");
    w.target.batch("drop table a").await;
    w.expect_log("no such table");
    let found = findings(&w).await;
    assert_eq!(codes(&found, "error"), ["table.target_missing"], "{found:#?}");
    w.cli("run", &["--endpos", "current"]).await.assert_code(1);
    assert_eq!(w.target.text("select to_regclass('a') is null").await, "t");
});

// Killed while an index is built: the next life builds it to its end, and what is done is not done again.
both_logs!(a_crash_between_two_statements, |w| {
    let slow = |body: &str| {
        format!("create function slow(int) returns int immutable language plpgsql as $$ begin {body} return $1; end $$")
    };
    w.source.batch(&format!("{}; create table t (id int primary key, n int, m int)", slow(""))).await;
    w.target.batch(&slow("perform pg_sleep(0.02);")).await;
    w.source.batch("create index fast on t (n); create index slow on t (slow(n)); create unique index late on t (m, id)").await;
    w.source.batch("insert into t select g, g, g from generate_series(1, 200) g").await;
    creates(&w, "[[table]]\nsource = 'public.t'");
    w.expect_log("again");
    w.expect_log("another session holds the table");
    let building = "select count(*) from pg_stat_activity where datname = current_database() and query like 'CREATE INDEX %slow%'
                    and state = 'active' and clock_timestamp() - query_start > interval '300 ms'";
    let left = "select count(*) from tablelift.after_load where done_at is null";
    for _ in 0..2 {
        let d = Daemon::run(&w);
        eventually("the slow index is being built", PATIENCE, async || w.target.try_text(building).await.is_ok_and(|n| n != "0"))
            .await;
        eventually("the status names it", PATIENCE, async || {
            let table = w.table("public.t").await;
            let names = table["after_load"]["building"].as_array().into_iter().flatten().map(|one| one["what"].to_string());
            names.collect::<String>().contains("index `slow`") && table["waiting_for"].is_null()
        })
        .await;
        d.kill9();
        assert_ne!(w.target.text(left).await, "0");
    }
    w.source.batch("update t set n = 0 where id = 1; insert into t values (201, 1, 1)").await;
    let d = Daemon::run(&w);
    w.settle().await;
    finished(&w).await;
    w.source.batch("update t set m = -m").await;
    w.settle().await;
    w.equal("table t").await;
    assert_eq!(
        w.target.text("select string_agg(x.relname, ' ' order by x.relname), bool_and(indisvalid) from pg_index join pg_class x on x.oid = indexrelid where indrelid = 't'::regclass").await,
        "fast late slow t_pkey|t"
    );
    drop(d);
});

// What 15 and 18 add is made where the target has it too, and told where not.
both_logs!(what_newer_versions_have, |w| {
    if Side::Source.major() < 18 {
        return;
    }
    w.source.batch("create extension btree_gist; create table p (id int primary key)").await;
    w.source
        .batch(
            "create table t (id uuid primary key default uuidv7(), a int constraint c check (a > 0) not enforced,
                p int constraint f references p not enforced, g int generated always as (a + 1), n int, unique nulls not distinct (n));
             create table room (id int, during daterange, n int, primary key (id, during without overlaps));
             insert into t (a, p, n) select -g, g, nullif(g, 1) from generate_series(1, 100) g;
             insert into room values (1, '[2026-01-01,2026-02-01)', 1), (1, '[2026-02-01,)', 2)",
        )
        .await;
    creates(&w, "[[table]]\nsource = 'public.*'");
    let found = findings(&w).await;
    assert_eq!(codes(&found, "error"), [""; 0], "{found:#?}");
    if Side::Target.major() < 18 {
        assert!(what(&found, "table.target_stored").contains("`g`"));
    }
    assert!(what(&found, "table.target_overlaps").contains("`during`"));
    let _d = Daemon::run(&w);
    w.settle().await;
    finished(&w).await;
    w.source.batch("update t set n = 1000 where n is null; update t set n = null where n = 2").await;
    w.settle().await;
    w.equal("select id, a, p, n, g from t").await;
    w.equal("table room").await;
    let constraints = target(&w, CONSTRAINTS, "t").await;
    let told = found.iter().filter(|finding| finding["what"].as_str().unwrap().contains("the target refuses it")).count();
    if Side::Target.major() >= 18 {
        assert!(
            constraints.contains("CHECK ((a > 0)) NOT ENFORCED|f") && constraints.contains("REFERENCES p(id) NOT ENFORCED|f")
        );
        assert_eq!(told, 0, "{found:#?}");
    } else {
        assert_ne!(told, 0);
    }
    assert_eq!(constraints.contains("UNIQUE NULLS NOT DISTINCT (n)"), Side::Target.major() >= 15, "{constraints}");
});

/// What the target's rows refuse is told, tried again, and halts nobody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_built_is_told_and_tried_again() {
    let w = World::new("create-refused").await;
    w.source.batch("create table p (id int primary key); create table c (id int primary key, p int, v text)").await;
    w.source.batch("insert into c values (1, 5, 'secret')").await;
    w.source.batch("alter table c add constraint to_p foreign key (p) references p not valid").await;
    w.source.batch("update pg_constraint set convalidated = true where conname = 'to_p'").await;
    creates(&w, "[[table]]\nsource = 'public.*'");
    w.expect_log("the validation of `to_p` cannot be made");
    let d = Daemon::run(&w);
    w.settle().await;
    let told = async || w.table("public.c").await["waiting_for"].as_str().unwrap_or_default().to_owned();
    eventually("it is told", PATIENCE, async || {
        told().await.contains("rows of the target refer to rows that are not there (SQLSTATE 23503)")
    })
    .await;
    assert_eq!(w.table("public.c").await["state"], "follow");
    let found = findings(&w).await;
    assert!(what(&found, "table.target_after_load").contains("`to_p`"));
    assert!(!d.log().contains("secret") && !format!("{found:?}").contains("secret"));
    w.source.batch("insert into p values (5)").await;
    w.settle().await;
    finished(&w).await;
    assert_eq!(w.target.text("select convalidated from pg_constraint where conname = 'to_p'").await, "t");
    assert_eq!(w.table("public.c").await["waiting_for"], Value::Null);
}

/// What only the source has (a function, an operator class), and a role that may not create.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_target_lacks_stays_out_and_is_said() {
    let w = World::new("create-lacks").await;
    w.source
        .batch(
            "create function ours(int) returns int immutable language sql as 'select $1';
             create table t (id int primary key default ours(1), n int default 3, constraint odd check (ours(n) > 0));
             create index on t (ours(n)); create table other (id int primary key); alter table t add foreign key (n) references other;
             alter table t add constraint apart exclude using btree (n with =)",
        )
        .await;
    creates(&w, "[[table]]\nsource = 'public.t'");
    let found = findings(&w).await;
    assert_eq!(codes(&found, "error"), [""; 0], "{found:#?}");
    assert!(what(&found, "table.target_default").contains("function public.ours(integer) does not exist"));
    assert!(what(&found, "table.target_index").contains("`t_ours_idx`"));
    assert!(what(&found, "table.target_foreign_key").contains("`public.other`, which this connector does not lift"));
    let constraints: Vec<&str> =
        found.iter().filter(|f| f["code"] == "table.target_constraint").map(|f| f["what"].as_str().unwrap()).collect();
    assert!(
        constraints.iter().any(|what| what.contains("check `odd`")) && constraints.iter().any(|what| what.contains("`apart`")),
        "{constraints:#?}"
    );
    if Side::Target.major() < 15 {
        return; // none but a superuser may switch triggers off
    }
    let role = format!("{}_maker", w.name.replace('-', "_"));
    w.target.batch(&format!("create role {role} login superuser")).await;
    *w.target_url.lock().unwrap() = w.target.url().replace("postgres@", &format!("{role}@"));
    w.target.batch(&format!("alter role {role} nosuperuser; grant create on database {} to {role}; grant set on parameter session_replication_role to {role}", w.target.name)).await;
    creates(&w, "[[table]]\nsource = 'public.t'");
    let found = findings(&w).await;
    assert_eq!(codes(&found, "error"), ["table.target_not_makeable"], "{found:#?}");
    let remedy = found.iter().find(|f| f["code"] == "table.target_not_makeable").unwrap()["remedy"]["text"].as_str().unwrap();
    w.target.batch(remedy).await;
    assert_eq!(codes(&findings(&w).await, "error"), [""; 0]);
    w.source.batch("insert into t values (1, null)").await;
    w.cli("run", &["--endpos", "current"]).await.assert_code(0);
    w.equal("table t").await;
    assert_eq!(w.log, Log::Local);
    w.target.batch(&format!("reassign owned by {role} to postgres; drop owned by {role}")).await;
}

/// The library's own parts, as the copy calls them: the key may come behind the load, and `finish` may be called again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_key_may_come_behind_the_load() {
    use tablelift::store::{self, connector::ConnectorRecord, table_state, table_state::TableState};
    use tablelift::{config::Connector, pipeline, preflight};
    let w = World::new("create-key").await;
    w.source.batch("create table t (id int primary key, v text); create unique index by_v on t (v)").await;
    creates(&w, "[[table]]\nsource = 'public.t'");
    let connector = Connector::load(&w.config_file()).unwrap();
    let (source, mut target) = (w.source.session().await, w.target.session().await);
    let mut compiled = preflight::compile(&source, &mut target, &connector.tables, |_| true).await.unwrap();
    preflight::design_missing(&connector, &source, &mut target, &mut compiled, &std::collections::BTreeSet::new()).await.unwrap();
    let (design, plan) = (compiled[0].design.clone().unwrap(), compiled[0].plan.clone().unwrap());
    store::schema::ensure(&target).await.unwrap();
    let mut record = ConnectorRecord {
        name: connector.name.clone(),
        source_system: String::new(),
        source_database: String::new(),
        source_timeline: 1,
        log_kind: "local".into(),
        topic_prefix: None,
        partitions: None,
        slot: connector.slot(),
        publication: connector.publication(),
        incarnation: 1,
        made: store::connector::Made::default(),
    };
    store::connector::write(&target, &record).await.unwrap();
    let new = TableState::new(plan.source.clone(), plan.target.clone(), plan.into.clone());
    let state = TableState { fingerprint: plan.fingerprint.clone(), ..new };
    assert_eq!(design.key_time, tablelift::ddl::KeyTime::AfterLoad);
    pipeline::create(&target, &mut record, &design, &state).await.unwrap();
    assert_eq!(table_state::read(&target, &connector.name).await.unwrap().len(), 1);
    assert_eq!(target_keys(&w).await, "");
    // the plan is the same without the key and the unique index as with them
    assert!(plan.secondary_uniques);
    let again = preflight::compile(&source, &mut target, &connector.tables, |_| true).await.unwrap();
    assert_eq!(again[0].plan.as_ref().unwrap(), &plan);
    let (board, loaded) = (pipeline::Board::default(), [plan.target.clone()]);
    let finish = async || pipeline::finish(&connector, &board, &loaded, 2, pipeline::Traffic::Still).await.unwrap();
    let first = finish().await;
    assert_eq!((first.done, first.failed, first.elsewhere), (3, 0, 0));
    assert_eq!(target_keys(&w).await, "t_pkey by_v");
    assert_eq!(finish().await.done, 0);
    // what a crash left undone in the record is seen to be done
    w.target.batch("update tablelift.after_load set done_at = null").await;
    assert_eq!(finish().await.done, 3);
    assert_eq!(target_keys(&w).await, "t_pkey by_v");
    assert!(board.waiting().is_empty());
}

async fn target_keys(w: &World) -> String {
    let sql = "select coalesce(string_agg(x.relname, ' ' order by i.indisprimary desc), '') from pg_index i
               join pg_class x on x.oid = i.indexrelid where i.indrelid = 't'::regclass";
    w.target.text(sql).await
}

// Where our own rows are held against foreign keys: with Kafka they would come in no order.
both_logs!(foreign_keys_that_fire, |w| {
    w.source.batch("create table p (id int primary key); create table c (id int primary key, p int references p)").await;
    w.source.batch("insert into p values (1), (2); insert into c values (1, 1), (2, 2)").await;
    w.connector_with(
        |f| f.target += "create = \"missing\"\ntriggers = 'fire'\n",
        "[[table]]\nsource = 'public.c'\n[[table]]\nsource = 'public.p'",
    );
    let told = codes(&findings(&w).await, "note").contains(&"table.target_foreign_key");
    assert_eq!(told, w.log == Log::Kafka);
    let _d = Daemon::run(&w);
    w.source.batch("insert into p values (3); insert into c values (3, 3)").await;
    w.settle().await;
    finished(&w).await;
    w.source.batch("begin; insert into p values (4); insert into c values (4, 4); commit; delete from c where id = 1; delete from p where id = 1").await;
    w.settle().await;
    w.equal("table p").await;
    w.equal("table c").await;
    let keys = w.target.text("select count(*) from pg_constraint where conname = 'c_p_fkey' and convalidated").await;
    assert_eq!(keys, if w.log == Log::Kafka { "0" } else { "1" });
});

// What tables have among each other, or for who reads them, is said where they are made without it.
both_logs!(what_they_are_made_without, |w| {
    w.source
        .batch(
            "create table parent (id int primary key, v text); create table heir (more int, primary key (id)) inherits (parent);
             alter table heir enable row level security; create policy mine on heir using (v = current_user);
             create statistics of_both on id, v from heir; create rule nothing as on delete to heir where old.id = 0 do instead nothing;
             insert into parent select g, 'p' from generate_series(1, 9) g; insert into heir select g, 'h' from generate_series(1, 9) g",
        )
        .await;
    creates(&w, "[[table]]\nsource = 'public.*'\ntarget = 'shop.*'");
    let found = findings(&w).await;
    assert_eq!(codes(&found, "error"), [""; 0], "{found:#?}");
    assert!(what(&found, "table.target_unprotected").contains("`public.heir`"));
    assert!(what(&found, "source.not_carried").contains("1 rule, 1 row-level security policy, 1 statistics object"));
    assert!(what(&found, "table.target_uninherited").contains("inherits from `public.parent`"));
    let _d = Daemon::run(&w);
    w.settle().await;
    finished(&w).await;
    for code in ["table.target_uninherited", "table.target_unprotected"] {
        let finding = found.iter().find(|finding| finding["code"] == code).unwrap();
        w.target.batch(finding["remedy"]["text"].as_str().unwrap()).await;
    }
    w.source
        .batch("delete from only parent where id = 1; update parent set v = 'x' where id = 2; delete from heir where id = 3")
        .await;
    w.settle().await;
    w.equal_as(
        "select tableoid::regclass::text, * from parent",
        "select replace(tableoid::regclass::text, 'shop.', ''), * from shop.parent",
    )
    .await;
});
