//! Names and shapes that PostgreSQL allows and nobody would choose.

use crate::both_logs;
use crate::support::{Daemon, World};

both_logs!(hostile_names, |w| {
    let tables = [
        (r#""Mixed Case""#, r#""Id""#, r#""select""#),
        (r#""with.dot""#, r#""a.b""#, r#""c""#),
        (r#""quote""double""#, r#""k""y""#, r#""v""'""#),
        (r#""it's; drop table x --""#, r#""$1""#, r#""?""#),
        (r#""smörgåsbord 雪""#, r#""clé""#, r#""значение""#),
        (r#""user""#, r#""order""#, r#""table""#),
        (r#""back\slash""#, r#""\n""#, r#""{}""#),
        (
            r#""a23456789012345678901234567890123456789012345678901234567890123""#,
            r#""b23456789012345678901234567890123456789012345678901234567890123""#,
            r#""src""#,
        ),
        (
            r#""new
line""#,
            r#""t	ab""#,
            r#"" ""#,
        ),
        (r#""src""#, r#""ctid_""#, r#""t""#),
    ];
    let mut file = String::new();
    for (table, key, value) in tables {
        w.both(&format!("create table {table} ({key} int primary key, {value} text)")).await;
        w.source.batch(&format!(r"insert into {table} select g, 'copied ''\n' || g from generate_series(1, 5) g")).await;
        file += &format!("[[table]]\nsource = {}\n", serde_json::Value::String(format!("public.{table}")));
    }
    w.connector(&file);
    let _d = Daemon::run(&w);
    w.settle().await;
    for (table, key, value) in tables {
        let (t, k, v) = (table, key, value);
        w.source
            .each(&[
                &format!("insert into {t} values (6, 'x')"),
                &format!("update {t} set {v} = 'u' where {k} = 1"),
                &format!("update {t} set {k} = 20 where {k} = 2"),
                &format!("delete from {t} where {k} = 3"),
            ])
            .await;
    }
    w.settle().await;
    for (table, ..) in tables {
        w.equal(&format!("table {table}")).await;
    }
});

both_logs!(hostile_schemas_by_pattern, |w| {
    w.both(r#"create schema "Weird.Schema"; create table "Weird.Schema"."T 1" (id int primary key, v text); create table "Weird.Schema".t2 (id int primary key)"#).await;
    w.connector("[[table]]\nsource = '\"Weird.Schema\".*'");
    let _d = Daemon::run(&w);
    w.source.batch(r#"insert into "Weird.Schema"."T 1" values (1, 'x'); insert into "Weird.Schema".t2 values (1)"#).await;
    w.settle().await;
    w.equal(r#"table "Weird.Schema"."T 1""#).await;
    w.equal(r#"table "Weird.Schema".t2"#).await;
});

both_logs!(as_wide_as_it_gets, |w| {
    let columns: Vec<String> = (2..=1600).map(|n| format!("c{n} bool")).collect();
    w.both(&format!("create table wide (id int primary key, {})", columns.join(", "))).await;
    w.source.batch("insert into wide (id, c2, c1600) values (1, true, false), (2, null, true)").await;
    w.connector("[[table]]\nsource = 'public.wide'");
    let _d = Daemon::run(&w);
    w.settle().await;
    w.source
        .each(&[
            "update wide set c800 = true",
            "insert into wide (id, c3) values (3, false)",
            "delete from wide where id = 1",
            "update wide set id = 9 where id = 2",
        ])
        .await;
    w.settle().await;
    // A record of 1,600 columns cannot be hashed with one more: look at some, and at the whole as text.
    w.equal("select id, c2, c3, c800, c1600, wide::text from wide").await;
});

both_logs!(no_columns_at_all, |w| {
    w.both("create table empty ()").await;
    w.source.batch("insert into empty default values").await;
    w.connector("[[table]]\nsource = 'public.empty'\ninsert_only = true");
    let _d = Daemon::run(&w);
    w.settle().await;
    w.source.batch("insert into empty default values").await;
    w.source.batch("insert into empty default values").await;
    w.settle().await;
    assert_eq!(w.target.text("select count(*) from empty").await, "3");
});

both_logs!(values_of_every_kind, |w| {
    w.both(
        "create type mood as enum ('sad', 'it''s ok'); create domain positive as int check (value > 0); create type pair as (a int, b text);
         create table v (id int primary key, i8 int8, f4 float4, f8 float8, n numeric, d date, ts timestamp, tz timestamptz, iv interval,
           b bytea, t text, c char(5), j jsonb, js json, u uuid, net inet, arr int[], texts text[], m mood, p positive, pr pair, prs pair[], bits varbit, r tstzrange,
           x xml, pt point, mo money, tsv tsvector, oid oid, name name, ch \"char\")",
    )
    .await;
    let rows = [
        "(1, 9223372036854775807, 'NaN', '-Infinity', 'NaN', 'infinity', '4713-01-01 BC', '-infinity', '1 mon -3 days 04:05:06.789', '\\x00ff27', E'a\\tb\\n\\\\c''\"{},', 'ab', '{\"a\": [1, 1.50]}', '{\"a\":  1}',
          'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '10.0.0.0/8', '{{1,null},{3,4}}', '{\"a,b\",\"NULL\",null,\"\\\"\"}', 'it''s ok', 1, '(1,\"a,b\")', '{\"(1,)\",\"(,x)\"}', '10101', '[2020-01-01,)', '<a b=\"c\"/>', '(1.5,-2)', '-12.34', 'a b:1', 4294967295, 'n', 'x')",
        "(2, -9223372036854775808, 1.1754944e-38, 4.9e-324, 123456789012345678901234567890.123456789012345678901234567890, '0044-03-15 BC', '294276-12-31 23:59:59.999999', '2000-01-01 00:00:00+05:30', '-1 year', '', '', '', 'null', '[]',
          null, '::1', '{}', '{}', 'sad', null, '(,)', null, '', 'empty', null, null, null, null, 0, '', '')",
        "(3, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null)",
    ];
    w.source.batch(&format!("set xmloption = content; insert into v values {}", rows.join(", "))).await;
    w.connector("[[table]]\nsource = 'public.v'");
    let _d = Daemon::run(&w);
    w.settle().await;
    w.equal("select v::text from v").await;
    w.source.batch("update v set id = id + 10; update v set t = t where id = 11").await;
    w.source.batch("begin; update v set id = id - 10; delete from v where id = 2; insert into v select 4, i8, f4, f8, n, d, ts, tz, iv, b, t, c, j, js, u, net, arr, texts, m, p, pr, prs, bits, r, x, pt, mo, tsv, oid, name, ch from v where id = 1; commit").await;
    w.settle().await;
    w.equal("select v::text from v").await;
});
