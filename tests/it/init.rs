//! `init`: what it writes for real databases passes the checks, copies and follows.

use crate::support::{Daemon, Output, Side, World, tablelift};

async fn init(w: &World, options: &[&str]) -> Output {
    let (source, target) = (w.source.url(), w.target.url());
    tablelift(&[&["init", "--source", &source, "--target", &target], options].concat()).await
}

/// As a person would save it; the port is the test's own.
fn save(w: &World, text: &str) {
    let own = format!("127.0.0.1:{}", w.http);
    std::fs::write(w.config_file(), text.replace("127.0.0.1:7411", &own)).unwrap();
}

/// What a schema asks of its file.
struct Schema {
    source: &'static str,
    target: &'static str,
    /// On the source, while the daemon follows.
    changes: &'static str,
    /// The same on both sides in the end; or one query for each, parted by ` => `.
    same: &'static [&'static str],
    /// Parts of the file.
    says: &'static [&'static str],
}

/// Drafts, checks, copies, follows, compares.
async fn lifts(name: &str, schema: Schema) {
    let w = World::new(name).await;
    w.source.batch(schema.source).await;
    w.target.batch(schema.target).await;
    let before = everything(&w).await;
    let text = init(&w, &[]).await.assert_code(0).stdout;
    assert_eq!(everything(&w).await, before, "init changed something");
    for part in schema.says {
        assert!(text.contains(part), "no `{part}` in\n{text}");
    }
    save(&w, &text);
    w.cli("check", &[]).await.assert_code(0);
    let mut d = Daemon::run(&w);
    w.settle().await;
    w.source.batch(schema.changes).await;
    w.settle().await;
    for query in schema.same {
        match query.split_once(" => ") {
            Some((source, target)) => w.equal_as(source, target).await,
            None => w.equal(query).await,
        }
    }
    d.term();
    d.exit().await;
    w.cli("drop", &["--yes"]).await.assert_code(0);
}

/// Everything that a command could have left behind.
async fn everything(w: &World) -> Vec<String> {
    let objects = "select (select count(*) from pg_class), (select count(*) from pg_type), (select count(*) from pg_namespace where nspname !~ '^pg_(toast_)?temp'),
        (select count(*) from pg_publication), (select count(*) from pg_replication_slots where database = current_database())";
    vec![w.source.text(objects).await, w.target.text(objects).await]
}

macro_rules! schemas {
    ($($name:ident: $schema:expr;)*) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            let name: String = concat!("i-", stringify!($name)).chars().take(20).collect();
            lifts(&name, $schema).await;
        })*
    };
}

schemas! {
    a_plain_schema_is_one_pattern: Schema {
        source: "create table a (id int primary key, v text); create table b (id int primary key references a); insert into a values (1, 'x')",
        target: "create table a (id int primary key, v text); create table b (id int primary key references a)",
        changes: "insert into a values (2, 'y'); insert into b values (2)",
        same: &["table a", "table b"],
        says: &["source = \"public.*\"", "# 2 tables now", "# create = \"missing\"", "triggers = \"off\""],
    };
    what_the_target_lacks_is_made: Schema {
        source: "create schema s; create type s.mood as enum ('a', 'b'); create domain s.n as int check (value > 0);
                 create table s.t (id int generated always as identity primary key, m s.mood[], n s.n, twice int generated always as (id * 2) stored);
                 create table there (id int primary key); insert into s.t (m) values ('{a}')",
        target: "create table there (id int primary key)",
        changes: "insert into s.t (m, n) values ('{b,NULL}', 3); insert into there values (1)",
        same: &["table s.t", "table there"],
        says: &["create = \"missing\"", "lacks one of the tables", "the target computes twice; made in the target"],
    };
    names_that_need_quotes: Schema {
        source: r#"create schema "S 1"; create schema "Ünï"; create table "S 1"."T.able" ("Id" int primary key, "a b" text, "${HOME}" int);
                   create table "S 1"."it's ""q""" (id int primary key, "[x]" text);
                   create table "S 1"."new
line = ""x"" # ]" (id int primary key, v text); create table "S 1"."${HOME}" (v text); create table "Ünï"."select" ("from" int primary key)"#,
        target: r#"create schema "S 1"; create table "S 1"."it's ""q""" (id int primary key); create table "S 1"."T.able" ("Id" int primary key)"#,
        changes: r#"insert into "S 1"."T.able" values (1, 'x', 2); insert into "S 1"."it's ""q""" values (1, 'x'); insert into "Ünï"."select" values (7);
                    insert into "S 1"."${HOME}" values ('stays')"#,
        same: &[
            r#"select "Id" from "S 1"."T.able""#, r#"select id from "S 1"."it's ""q""""#, r#"table "Ünï"."select""#,
            r#"select null::text where false => select to_regclass('"S 1"."${HOME}"')::text where to_regclass('"S 1"."${HOME}"') is not null"#,
        ],
        says: &[r#"source = '"S 1".*'"#, r#"'"S 1"."$${HOME}"',"#, r#"ignore = ["a b", "$${HOME}"]"#],
    };
    keyless_tables_are_left_out_with_their_cure: Schema {
        source: "create table t (id int primary key); create table log (at timestamptz, what text); create table whole (v text);
                 alter table whole replica identity full; create table off (id int primary key); alter table off replica identity nothing;
                 insert into whole values ('x'), ('x')",
        target: "create table t (id int primary key); create table log (at timestamptz, what text); create table whole (v text); create table off (id int primary key)",
        changes: "insert into t values (1); delete from whole where ctid = (select min(ctid) from whole); update log set what = 'y'; insert into off values (1); update off set id = 2",
        same: &["table t", "table whole", "select 0 => select count(*) from log"],
        says: &["\"public.log\",", "has no primary key and no replica identity", "ALTER TABLE \"public\".\"log\" REPLICA IDENTITY FULL;",
                "\"public.off\",", "REPLICA IDENTITY DEFAULT", "no key: compared as whole rows"],
    };
    what_no_pattern_takes_is_named: Schema {
        source: "create table t (id int primary key); create unlogged table cache (id int primary key); create view v as table t;
                 create extension hstore; create extension file_fdw; create server s foreign data wrapper file_fdw;
                 create foreign table elsewhere (a text) server s options (filename '/dev/null')",
        target: "",
        changes: "insert into t values (1)",
        same: &["table t"],
        says: &["# - public.cache: is unlogged: its changes are not in the WAL", "# - public.v: is a view", "# - public.elsewhere: is a foreign table"],
    };
    columns_that_the_target_lacks_are_ignored: Schema {
        source: "create table t (id int primary key, v text, blob bytea, note text); insert into t values (1, 'x', 'y', 'z')",
        target: "create table t (id int primary key, v text)",
        changes: "update t set v = 'w', blob = 'more'",
        same: &["select id, v from t"],
        says: &["ignore = [\"blob\", \"note\"]", "its values stay behind"],
    };
    another_type_gets_a_cast: Schema {
        source: "create table t (id int primary key, n int, at text); insert into t values (1, 2, '2020-01-01')",
        target: "create table t (id int primary key, n text, at date)",
        changes: "insert into t values (2, 3, '2021-01-01')",
        same: &["table t => select id, n, at::text from t"],
        says: &["[[table]]"],
    };
    what_nothing_fills_leaves_its_table_out: Schema {
        source: "create table t (id int primary key); create table u (id int primary key, v text)",
        target: "create table t (id int primary key, tenant int not null); create table u (id int primary key, v text)",
        changes: "insert into t values (1); insert into u values (1, 'x')",
        same: &["table u", "select 0 => select count(*) from t"],
        says: &["\"public.t\",", "column `tenant` is NOT NULL without a default", "#       tenant = \"...\""],
    };
    rows_that_are_there_are_not_mixed_with: Schema {
        source: "create table t (id int primary key); create table u (id int primary key)",
        target: "create table t (id int primary key); create table u (id int primary key); insert into t values (5)",
        changes: "insert into t values (1); insert into u values (1)",
        same: &["table u", "select 1 => select count(*) from t"],
        says: &["\"public.t\",", "it is not empty", "TRUNCATE \"public\".\"t\""],
    };
    partitioned_tables_come_as_one: Schema {
        source: "create table p (id int primary key, v text) partition by range (id); create table p1 partition of p for values from (0) to (10);
                 create table p2 partition of p default; insert into p values (1, 'x'), (20, 'y');
                 create table q (id int primary key) partition by range (id); create table q1 partition of q default;
                 alter table q1 replica identity nothing",
        target: "",
        changes: "update p set id = id + 9; insert into q values (1)",
        same: &["table p"],
        says: &["partitioned: its partitions come as this one table", "\"public.q\",", "public.q1: this partition's replica identity"],
    };
    the_key_may_be_an_index: Schema {
        source: "create table t (a int not null, b text not null, v text); create unique index by_ab on t (b, a); alter table t replica identity using index by_ab",
        target: "",
        changes: "insert into t values (1, 'x', 'y'); update t set a = 2; insert into t values (1, 'x', 'z'); delete from t where a = 2",
        same: &["table t"],
        says: &["key b, a; made in the target"],
    };
    a_target_of_another_shape: Schema {
        source: "create table t (id bigint primary key, a int, total int generated always as (a + 1) stored); insert into t (id, a) values (1, 2)",
        target: "create table t (total int generated always as (a + 1) stored, extra text default 'x', a int, id bigint primary key)",
        changes: "update t set a = 5",
        same: &["select id, a, total from t"],
        says: &["the target computes total", "source = \"public.*\""],
    };
    tables_of_several_schemas: Schema {
        source: "create schema a; create schema b; create table a.t (id int primary key); create table b.t (id int primary key references a.t);
                 create table public.t (id int primary key references b.t); create schema empty",
        target: "create schema b",
        changes: "insert into a.t values (1); insert into b.t values (1); insert into t values (1)",
        same: &["table a.t", "table b.t", "table t"],
        says: &["source = \"a.*\"", "source = \"b.*\"", "source = \"public.*\"", "lacks 3 of the tables"],
    };
}

const SMALL: &str = "
    create table customers (id int primary key, email text not null, legacy text);
    create table orders (id bigint primary key, customer int references customers, cents int, euros numeric generated always as (cents / 100.0) stored);
    create table events (at timestamptz, what text); create unlogged table cache (k text primary key);
    insert into customers select g, 'c' || g from generate_series(1, 20) g; insert into orders values (1, 1, 5); analyze;";

/// The whole text, as a newcomer reads it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_text_for_a_small_schema() {
    let w = World::new("init-golden").await;
    w.source.batch(SMALL).await;
    w.target.batch("create table customers (id int primary key, email text not null)").await;
    let text = init(&w, &[]).await.assert_code(0).stdout;
    let (source, target) = (w.source.url(), w.target.url());
    let name = w.source.name.replace('_', "-");
    let text = text.replace(&source, "SOURCE").replace(&target, "TARGET").replace(&name, "NAME");
    let text = text.replace(&w.source.name, "SOURCE_DB").replace(&w.target.name, "TARGET_DB");
    // names of another length are wrapped and padded otherwise
    let flat = |text: &str| {
        let lines = text.replace("\n# ", " ");
        let lines = lines.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
        lines.collect::<Vec<_>>().join("\n")
    };
    let expected = include_str!("init.expected.toml");
    assert!(flat(&text) == flat(expected), "another text than tests/it/init.expected.toml:\n{text}");
    save(&w, &init(&w, &[]).await.stdout);
    w.cli("check", &[]).await.assert_code(0);
}

/// Only what was asked for, and what is wrong with the command.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_line() {
    let w = World::new("init-options").await;
    w.source.batch("create schema s; create table s.a1 (id int primary key); create table s.a2 (id int primary key); create table b (id int primary key); create table c (v text)").await;
    let text = init(&w, &["--table", "s.a*", "--table", "B"]).await.assert_code(0).stdout;
    assert!(text.contains("source = \"s.a*\"") && text.contains("source = \"public.b\"") && !text.contains("public.*"), "{text}");
    save(&w, &text);
    w.cli("check", &[]).await.assert_code(0);
    let json = init(&w, &["--json", "--table", "s.*"]).await.assert_code(0).json();
    assert_eq!((json["ok"].as_bool(), json["tables"][1].as_str()), (Some(true), Some("s.a2")));
    assert!(json["file"].as_str().unwrap().contains("source = \"s.*\"") && json["findings"].is_array());
    // a keyless one alone: the file says why, and the exit status too
    let refused = init(&w, &["--table", "c"]).await.assert_code(1);
    assert!(
        refused.stdout.contains("# Not taken: public.c") && refused.stdout.contains("# source = \"public.c\""),
        "{refused:#?}"
    );
    let nothing = init(&w, &["--table", "nosuch"]).await.assert_code(1);
    assert!(
        nothing.stdout.is_empty()
            && nothing.stderr.contains("no table that `public.nosuch` names")
            && nothing.stderr.contains("hint:")
    );
    for (options, told) in
        [(&["--table", "a b"][..], "--table: `a b` holds"), (&["--table"][..], "--table"), (&["extra"][..], "extra")]
    {
        let wrong = init(&w, options).await.assert_code(2);
        assert!(wrong.stderr.contains(told) && wrong.stdout.is_empty(), "{wrong:#?}");
    }
    // a second file for the same source gets a name that is free
    w.cli("prepare", &[]).await.assert_code(0);
    let second = init(&w, &["--table", "s.a1"]).await;
    assert!(second.stdout.contains("-2\""), "{second:#?}");
    w.cli("drop", &["--yes"]).await.assert_code(0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn databases_that_cannot_be_reached() {
    let w = World::new("init-wrong").await;
    let good = w.source.url();
    for (source, target, code, told) in [
        ("mysql://u:hunter2@h/d", good.as_str(), 2, "--source: the url is of a scheme that is not PostgreSQL's"),
        (good.as_str(), "hunter2", 2, "--target: the url is neither"),
        (good.as_str(), "postgres://u:hunter2@127.0.0.1:1/d", 1, "target"),
        ("postgres://nobody:hunter2@127.0.0.1:1/d", good.as_str(), 1, "source"),
        ("postgres://${TABLELIFT_NOT_SET}@h/d", good.as_str(), 2, "TABLELIFT_NOT_SET"),
    ] {
        let wrong = tablelift(&["init", "--source", source, "--target", target]).await.assert_code(code);
        assert!(wrong.stderr.contains(told) && wrong.stderr.contains("hint") && wrong.stdout.is_empty(), "{wrong:#?}");
        assert!(!wrong.all().contains("hunter2"), "{wrong:#?}");
    }
    let gone = good.replace(&w.source.name, "no_such_database");
    let wrong = tablelift(&["init", "--source", &gone, "--target", &good]).await.assert_code(1);
    assert!(wrong.stderr.contains("no_such_database"), "{wrong:#?}");
}

/// A password of the command line stays there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn passwords_are_not_written() {
    let mut w = World::new("init-secret").await;
    w.both("create table t (id int primary key)").await;
    let with = |url: String| url.replace("postgres@", "postgres:hunter%402@");
    let (source, target) = (with(w.source.url()), with(w.target.url()));
    let out = tablelift(&["init", "--source", &source, "--target", &target]).await.assert_code(0);
    assert!(!out.all().contains("hunter"), "{out:#?}");
    assert!(out.stderr.contains("export TABLELIFT_SOURCE_PASSWORD") && out.stderr.contains("export TABLELIFT_TARGET_PASSWORD"));
    assert!(out.stdout.contains("postgres:${TABLELIFT_SOURCE_PASSWORD}@"));
    save(&w, &out.stdout);
    w.cli("check", &[]).await.assert_code(2);
    w.env("TABLELIFT_SOURCE_PASSWORD", "hunter%402");
    w.env("TABLELIFT_TARGET_PASSWORD", "hunter%402");
    w.cli("check", &[]).await.assert_code(0);
}

/// A role without superuser's rights: triggers fire where they may not be switched off, and the grant is in the file.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn triggers_of_a_role_that_may_not_switch_them_off() {
    let w = World::new("init-role").await;
    let role = format!("{}_plain", w.name.replace('-', "_"));
    w.source.batch("create table t (id int primary key, v text); create table u (id int primary key)").await;
    w.target
        .batch(&format!(
            "create table t (id int primary key, v text); create role {role} login; grant create on database {} to {role};
        grant select, insert, update, delete, truncate on t to {role}; grant usage, create on schema public to {role}",
            w.target.name
        ))
        .await;
    let (source, target) = (w.source.url(), w.target.url().replace("postgres@", &format!("{role}@")));
    let text = tablelift(&["init", "--source", &source, "--target", &target]).await.assert_code(0).stdout;
    assert!(text.contains("\ntriggers = \"fire\"\n"), "{text}");
    let cure = match Side::Target.major() {
        14 => format!("#   ALTER ROLE \"{role}\" SUPERUSER;"),
        _ => format!("#   GRANT SET ON PARAMETER session_replication_role TO \"{role}\";"),
    };
    assert!(text.contains(&cure), "{text}");
    save(&w, &text);
    w.cli("check", &[]).await.assert_code(0);
    // one grant that is lacking leaves no table out: it is told
    w.target.batch(&format!("revoke insert on t from {role}")).await;
    let out = tablelift(&["init", "--source", &source, "--target", &target]).await.assert_code(1);
    assert!(out.stdout.contains("public.t: ") && out.stderr.contains("GRANT INSERT"), "{out:#?}");
    w.target.batch(&format!("drop owned by {role}; drop role {role}")).await;
}
