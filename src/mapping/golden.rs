//! Every statement's text, for one table of each kind: what is sent to the target is read here as it stands.

use super::*;
use crate::change::{ReplicaIdentity, TableName};

/// Columns as `name type`, the first of them NOT NULL; a key is a primary key on both sides.
fn source(columns: &[(&str, &str)], key: &[&str]) -> SourceShape {
    let column = |(at, &(name, type_name)): (usize, &(&str, &str))| SourceColumn {
        name: name.to_owned(),
        type_name: type_name.to_owned(),
        type_base: type_name.split('(').next().unwrap().to_owned(),
        type_oid: 20,
        type_kind: 'b',
        type_category: 'N',
        not_null: at == 0,
        generated: None,
        collation_deterministic: true,
        number: 0,
        has_default: false,
    };
    let key: Vec<String> = key.iter().map(|&name| name.to_owned()).collect();
    SourceShape {
        name: TableName::new("public", "Orders"),
        oid: 1,
        kind: 'r',
        identity: if key.is_empty() { ReplicaIdentity::Full } else { ReplicaIdentity::Default },
        identity_columns: key.clone(),
        primary_key: key,
        unique_index: None,
        columns: columns.iter().enumerate().map(column).collect(),
        rows_estimated: 0,
        bytes: 0,
    }
}

fn target(columns: &[(&str, &str)], key: &[&str]) -> TargetShape {
    let column = |&(name, type_name): &(&str, &str)| TargetColumn {
        name: name.to_owned(),
        type_name: type_name.to_owned(),
        type_base: type_name.split('(').next().unwrap().to_owned(),
        type_oid: 20,
        type_kind: 'b',
        type_category: 'N',
        not_null: false,
        has_default: false,
        generated: false,
        identity_always: false,
        identity: false,
    };
    let columns_of_key: Vec<String> = key.iter().map(|&name| name.to_owned()).collect();
    let primary = UniqueKey {
        name: "pk".to_owned(),
        columns: columns_of_key,
        primary: true,
        deferrable: false,
        partial_or_expression: false,
        exclusion: false,
    };
    TargetShape {
        name: TableName::new("shop", "orders"),
        oid: 2,
        kind: 'r',
        columns: columns.iter().map(column).collect(),
        uniques: if key.is_empty() { Vec::new() } else { vec![primary] },
        foreign_keys_out: Vec::new(),
        foreign_keys_in: Vec::new(),
        cascades: Vec::new(),
        unlogged: Vec::new(),
        actions: Vec::new(),
    }
}

fn rule() -> Rule {
    Rule::plain(TableName::new("public", "Orders"), TableName::new("shop", "orders"))
}

/// What the target would say: each expression's type does not matter here, only which columns it uses.
fn facts(source: &SourceShape, columns: &[&[usize]], filter: Option<&[usize]>) -> Facts {
    let uses = |uses: &[usize]| ExpressionFacts { type_oid: 20, type_name: "bigint".to_owned(), uses: uses.to_vec() };
    Facts {
        columns: columns.iter().map(|used| uses(used)).collect(),
        filter: filter.map(uses),
        input_types: source.columns.iter().map(|column| column.type_base.clone()).collect(),
    }
}

#[track_caller]
fn says(plan: &TablePlan, statement: &Statement, text: &str) {
    let found = plan.sql(statement).unwrap();
    assert_eq!(found, text.split_whitespace().collect::<Vec<_>>().join(" "), "\n{statement:?}\n{found}");
}

fn plain() -> TablePlan {
    let columns = [("id", "bigint"), ("note", "character varying(9)"), ("tags", "text[]")];
    let source = source(&columns, &["id"]);
    compile(&rule(), &source, &target(&columns, &["id"]), &facts(&source, &[], None)).unwrap()
}

#[test]
fn a_plain_keyed_table() {
    let plan = plain();
    assert!(plan.straight() && plan.kind == Kind::Keyed && plan.key == [0]);
    says(&plan, &Statement::CopyIn, r#"COPY "shop"."orders" ("id", "note", "tags") FROM STDIN"#);
    says(
        &plan,
        &Statement::Insert,
        r#"
          INSERT INTO "shop"."orders" ("id", "note", "tags") OVERRIDING SYSTEM VALUE SELECT ("id"), ("note"), ("tags")
          FROM (SELECT u.c0 AS "id", u.c1 AS "note", u.c2::text[] AS "tags" FROM (SELECT pg_catalog.unnest($1::bigint[]) AS c0,
          pg_catalog.unnest($2::character varying[]) AS c1, pg_catalog.unnest($3::pg_catalog.text[]) AS c2) AS u) AS src"#,
    );
    says(
        &plan,
        &Statement::Upsert,
        r#"
          INSERT INTO "shop"."orders" ("id", "note", "tags") OVERRIDING SYSTEM VALUE SELECT ("id"), ("note"), ("tags")
          FROM (SELECT u.c0 AS "id", u.c1 AS "note", u.c2::text[] AS "tags" FROM (SELECT pg_catalog.unnest($1::bigint[]) AS c0,
          pg_catalog.unnest($2::character varying[]) AS c1, pg_catalog.unnest($3::pg_catalog.text[]) AS c2) AS u) AS src
          ON CONFLICT ("id") DO UPDATE SET "note" = excluded."note", "tags" = excluded."tags""#,
    );
    says(
        &plan,
        &Statement::Update(vec![2]),
        r#"
          WITH keyed AS MATERIALIZED (SELECT src.*, ("id")::bigint AS "tablelift:k0"
          FROM (SELECT u.c0 AS "id", u.c1 AS "note" FROM (SELECT pg_catalog.unnest($1::bigint[]) AS c0,
          pg_catalog.unnest($2::character varying[]) AS c1) AS u) AS src),
          rows AS MATERIALIZED (SELECT keyed.*, t.tableoid IS NOT NULL AS "tablelift:found" FROM keyed LEFT JOIN
          ONLY "shop"."orders" AS t ON t."id" = keyed."tablelift:k0"),
          updated AS (UPDATE ONLY "shop"."orders" AS t SET "note" = new."tablelift:v0" FROM (SELECT "tablelift:k0", ("note") AS
          "tablelift:v0" FROM rows AS src WHERE "tablelift:found") AS new WHERE t."id" = new."tablelift:k0")
          SELECT ARRAY[pg_catalog.format('%s', src."id")] FROM rows AS src WHERE NOT "tablelift:found" AND true"#,
    );
    says(
        &plan,
        &Statement::Move(vec![2]),
        r#"
          WITH gone AS (SELECT ("id")::bigint AS "tablelift:k0"
          FROM (SELECT u.c0 AS "id" FROM (SELECT pg_catalog.unnest($3::bigint[]) AS c0) AS u) AS src),
          t AS (DELETE FROM ONLY "shop"."orders" AS t USING gone WHERE t."id" = gone."tablelift:k0" RETURNING t.*, true AS
          "tablelift:found"),
          rows AS MATERIALIZED (SELECT new.*, t."tags" AS "tags", t."tablelift:found" IS NOT NULL AS "tablelift:found"
          FROM (SELECT u.c0 AS "id", u.c1 AS "note" FROM (SELECT pg_catalog.unnest($1::bigint[]) AS c0,
          pg_catalog.unnest($2::character varying[]) AS c1) AS u) AS new LEFT JOIN t ON true),
          moved AS (INSERT INTO "shop"."orders" ("id", "note", "tags") OVERRIDING SYSTEM VALUE SELECT ("id"), ("note"),
          ("tags") FROM rows AS src WHERE "tablelift:found")
          SELECT ARRAY[pg_catalog.format('%s', src."id")] FROM rows AS src WHERE NOT "tablelift:found" AND true"#,
    );
    says(
        &plan,
        &Statement::Rekey(vec![2]),
        r#"
          WITH gone AS (SELECT ("id")::bigint AS "tablelift:k0"
          FROM (SELECT u.c0 AS "id" FROM (SELECT pg_catalog.unnest($3::bigint[]) AS c0) AS u) AS src),
          base AS (SELECT t.*, gone.*, true AS "tablelift:found" FROM ONLY "shop"."orders" AS t JOIN gone ON t."id" =
          gone."tablelift:k0"),
          rows AS MATERIALIZED (SELECT new.*, t."tags" AS "tags", t."tablelift:k0", t."tablelift:found" IS NOT NULL AS
          "tablelift:found"
          FROM (SELECT u.c0 AS "id", u.c1 AS "note" FROM (SELECT pg_catalog.unnest($1::bigint[]) AS c0,
          pg_catalog.unnest($2::character varying[]) AS c1) AS u) AS new LEFT JOIN base AS t ON true),
          moved AS (UPDATE ONLY "shop"."orders" AS t SET "id" = new."tablelift:v0", "note" = new."tablelift:v1", "tags" =
          new."tablelift:v2" FROM (SELECT "tablelift:k0", ("id") AS "tablelift:v0", ("note") AS "tablelift:v1", ("tags") AS
          "tablelift:v2" FROM rows AS src WHERE "tablelift:found") AS new WHERE t."id" = new."tablelift:k0")
          SELECT ARRAY[pg_catalog.format('%s', src."id")] FROM rows AS src WHERE NOT "tablelift:found""#,
    );
    says(
        &plan,
        &Statement::Probe(1),
        r#"
          SELECT pg_catalog.count(1 / CASE WHEN pg_catalog.rtrim(("note")::pg_catalog.text) IS DISTINCT FROM
          pg_catalog.rtrim((("note")::character varying(9))::pg_catalog.text) THEN 0 ELSE 1 END)
          FROM (SELECT u.c0 AS "note" FROM (SELECT pg_catalog.unnest($1::character varying[]) AS c0) AS u) AS src"#,
    );
    says(
        &plan,
        &Statement::Delete,
        r#"
          DELETE FROM ONLY "shop"."orders" AS t USING (SELECT ("id")::bigint AS "tablelift:k0"
          FROM (SELECT u.c0 AS "id" FROM (SELECT pg_catalog.unnest($1::bigint[]) AS c0) AS u) AS src) AS gone WHERE t."id" =
          gone."tablelift:k0""#,
    );
    // parameters: what is there, then a Move's old key
    assert_eq!(plan.carried(&Statement::Update(vec![2])), [0, 1]);
    assert_eq!((plan.carried(&Statement::Move(vec![2])), plan.carried(&Statement::Delete)), (vec![0, 1], vec![0]));
}

#[test]
fn expressions_and_a_filter() {
    let columns = [("id", "integer"), ("cents", "bigint"), ("region", "text"), ("blob", "text")];
    let source = source(&columns, &["id"]);
    let target = target(&[("order_id", "bigint"), ("total", "numeric(12,2)"), ("blob", "text")], &["order_id"]);
    let expressions = [("order_id", "id::bigint"), ("total", "round(cents / 100.0, 2)")];
    let expressions = expressions.map(|(column, sql)| (column.to_owned(), sql.to_owned())).to_vec();
    let rule = Rule { filter: Some("region = 'EU'".to_owned()), columns: expressions, ..rule() };
    let plan = compile(&rule, &source, &target, &facts(&source, &[&[0], &[1]], Some(&[2]))).unwrap();
    assert!(!plan.straight());
    says(
        &plan,
        &Statement::Insert,
        r#"
          INSERT INTO "shop"."orders" ("order_id", "total", "blob") OVERRIDING SYSTEM VALUE SELECT (id::bigint), (round(cents
          / 100.0, 2)), ("blob")
          FROM (SELECT u.c0 AS "id", u.c1 AS "cents", u.c2 AS "region", u.c3 AS "blob" FROM (SELECT
          pg_catalog.unnest($1::integer[]) AS c0, pg_catalog.unnest($2::bigint[]) AS c1, pg_catalog.unnest($3::text[]) AS c2,
          pg_catalog.unnest($4::text[]) AS c3) AS u) AS src WHERE (region = 'EU')"#,
    );
    says(
        &plan,
        &Statement::Upsert,
        r#"
          WITH rows AS MATERIALIZED (SELECT u.c0 AS "id", u.c1 AS "cents", u.c2 AS "region", u.c3 AS "blob" FROM (SELECT
          pg_catalog.unnest($1::integer[]) AS c0, pg_catalog.unnest($2::bigint[]) AS c1, pg_catalog.unnest($3::text[]) AS c2,
          pg_catalog.unnest($4::text[]) AS c3) AS u),
          left_filter AS (DELETE FROM ONLY "shop"."orders" AS t USING (SELECT (id::bigint)::bigint AS "tablelift:k0" FROM rows AS
          src WHERE (region = 'EU') IS NOT TRUE) AS gone WHERE t."order_id" = gone."tablelift:k0")
          INSERT INTO "shop"."orders" ("order_id", "total", "blob") OVERRIDING SYSTEM VALUE SELECT (id::bigint), (round(cents
          / 100.0, 2)), ("blob") FROM rows AS src WHERE (region = 'EU')
          ON CONFLICT ("order_id") DO UPDATE SET "total" = excluded."total", "blob" = excluded."blob""#,
    );
    says(
        &plan,
        &Statement::Update(vec![3]),
        r#"
          WITH keyed AS MATERIALIZED (SELECT src.*, (id::bigint)::bigint AS "tablelift:k0"
          FROM (SELECT u.c0 AS "id", u.c1 AS "cents", u.c2 AS "region" FROM (SELECT pg_catalog.unnest($1::integer[]) AS c0,
          pg_catalog.unnest($2::bigint[]) AS c1, pg_catalog.unnest($3::text[]) AS c2) AS u) AS src),
          rows AS MATERIALIZED (SELECT keyed.*, t.tableoid IS NOT NULL AS "tablelift:found" FROM keyed LEFT JOIN
          ONLY "shop"."orders" AS t ON t."order_id" = keyed."tablelift:k0"),
          updated AS (UPDATE ONLY "shop"."orders" AS t SET "total" = new."tablelift:v0" FROM (SELECT "tablelift:k0", (round(cents /
          100.0, 2)) AS "tablelift:v0" FROM rows AS src WHERE "tablelift:found" AND (region = 'EU')) AS new WHERE t."order_id"
          = new."tablelift:k0"),
          left_filter AS (DELETE FROM ONLY "shop"."orders" AS t USING (SELECT (id::bigint)::bigint AS "tablelift:k0" FROM rows AS
          src WHERE (region = 'EU') IS NOT TRUE) AS gone WHERE t."order_id" = gone."tablelift:k0")
          SELECT ARRAY[pg_catalog.format('%s', src."id")] FROM rows AS src WHERE NOT "tablelift:found" AND (region = 'EU')"#,
    );
    says(
        &plan,
        &Statement::Move(vec![3]),
        r#"
          WITH gone AS (SELECT (id::bigint)::bigint AS "tablelift:k0"
          FROM (SELECT u.c0 AS "id" FROM (SELECT pg_catalog.unnest($4::integer[]) AS c0) AS u) AS src),
          t AS (DELETE FROM ONLY "shop"."orders" AS t USING gone WHERE t."order_id" = gone."tablelift:k0" RETURNING t.*, true AS
          "tablelift:found"),
          rows AS MATERIALIZED (SELECT new.*, t."blob" AS "blob", t."tablelift:found" IS NOT NULL AS "tablelift:found"
          FROM (SELECT u.c0 AS "id", u.c1 AS "cents", u.c2 AS "region" FROM (SELECT pg_catalog.unnest($1::integer[]) AS c0,
          pg_catalog.unnest($2::bigint[]) AS c1, pg_catalog.unnest($3::text[]) AS c2) AS u) AS new LEFT JOIN t ON true),
          moved AS (INSERT INTO "shop"."orders" ("order_id", "total", "blob") OVERRIDING SYSTEM VALUE SELECT (id::bigint),
          (round(cents / 100.0, 2)), ("blob") FROM rows AS src WHERE "tablelift:found" AND (region = 'EU'))
          SELECT ARRAY[pg_catalog.format('%s', src."id")] FROM rows AS src WHERE NOT "tablelift:found" AND (region = 'EU')"#,
    );
    says(
        &plan,
        &Statement::Delete,
        r#"
          DELETE FROM ONLY "shop"."orders" AS t USING (SELECT (id::bigint)::bigint AS "tablelift:k0"
          FROM (SELECT u.c0 AS "id" FROM (SELECT pg_catalog.unnest($1::integer[]) AS c0) AS u) AS src) AS gone WHERE
          t."order_id" = gone."tablelift:k0""#,
    );
    // the filter's column is not in the target, so nothing can stand for it
    assert_eq!(plan.sql(&Statement::Update(vec![2])), Err(NotSupplied { column: "region".to_owned() }));
    assert_eq!(plan.sql(&Statement::Move(vec![1])), Err(NotSupplied { column: "cents".to_owned() }));
}

#[test]
fn without_a_key() {
    let columns = [("v", "text"), ("n", "numeric")];
    let (source, target) = (source(&columns, &[]), target(&columns, &[]));
    let plan = compile(&rule(), &source, &target, &facts(&source, &[], None)).unwrap();
    assert_eq!(plan.kind, Kind::Keyless);
    says(&plan, &Statement::CopyIn, r#"COPY "shop"."orders" ("v", "n") FROM STDIN"#);
    says(
        &plan,
        &Statement::Insert,
        r#"
          INSERT INTO "shop"."orders" ("v", "n") OVERRIDING SYSTEM VALUE SELECT ("v"), ("n")
          FROM (SELECT u.c0 AS "v", u.c1 AS "n" FROM (SELECT pg_catalog.unnest($1::text[]) AS c0,
          pg_catalog.unnest($2::numeric[]) AS c1) AS u) AS src"#,
    );
    says(
        &plan,
        &Statement::DeleteOne,
        r#"
          WITH gone AS MATERIALIZED (SELECT ("v")::text::pg_catalog.text AS "tablelift:v0", ("n")::numeric::pg_catalog.text AS
          "tablelift:v1"
          FROM (SELECT u.c0 AS "v", u.c1 AS "n" FROM (SELECT pg_catalog.unnest($1::text[]) AS c0,
          pg_catalog.unnest($2::numeric[]) AS c1) AS u) AS src),
          one AS (SELECT t.tableoid AS o, t.ctid AS c FROM ONLY "shop"."orders" AS t, gone WHERE true AND t."v"::pg_catalog.text IS
          NOT DISTINCT FROM gone."tablelift:v0" AND t."n"::pg_catalog.text IS NOT DISTINCT FROM gone."tablelift:v1" LIMIT 1),
          deleted AS (DELETE FROM ONLY "shop"."orders" AS t USING one WHERE t.tableoid = one.o AND t.ctid = one.c RETURNING 1)
          SELECT (SELECT pg_catalog.count(*) FROM gone) - (SELECT pg_catalog.count(*) FROM deleted)"#,
    );
}

#[test]
fn inserts_only() {
    let columns = [("v", "text"), ("n", "numeric")];
    let source = SourceShape { identity: ReplicaIdentity::Default, ..source(&columns, &[]) };
    let told = compile(&rule(), &source, &target(&columns, &[]), &facts(&source, &[], None)).unwrap_err();
    assert_eq!(told.iter().map(|finding| finding.code).collect::<Vec<_>>(), ["table.no_key"]);
    let rule = Rule { insert_only: true, ..rule() };
    let plan = compile(&rule, &source, &target(&columns, &[]), &facts(&source, &[], None)).unwrap();
    assert!(plan.kind == Kind::InsertOnly && plan.key.is_empty());
    says(&plan, &Statement::CopyIn, r#"COPY "shop"."orders" ("v", "n") FROM STDIN"#);
    says(
        &plan,
        &Statement::Insert,
        r#"
          INSERT INTO "shop"."orders" ("v", "n") OVERRIDING SYSTEM VALUE SELECT ("v"), ("n")
          FROM (SELECT u.c0 AS "v", u.c1 AS "n" FROM (SELECT pg_catalog.unnest($1::text[]) AS c0,
          pg_catalog.unnest($2::numeric[]) AS c1) AS u) AS src"#,
    );
}

#[test]
fn copies_and_rows_by_their_keys() {
    let plan = plain();
    let is = |found: String, text: &str| {
        assert_eq!(found, text.split_whitespace().collect::<Vec<_>>().join(" "), "\n{found}");
    };
    let keys = [vec!["1".to_owned()], vec!["it's 2".to_owned()]];
    let keys: Vec<&Vec<String>> = keys.iter().collect();
    assert_eq!(plan.copy_form(), CopyForm::Binary, "both sides have one type, as the numbers say");
    is(
        plan.copy_out("a.b", "ctid < x", CopyForm::Binary),
        r#"COPY (SELECT "id", "note", "tags" FROM ONLY a.b WHERE ctid < x) TO STDOUT (FORMAT binary)"#,
    );
    is(plan.copy_in("", CopyForm::Binary), r#"COPY "shop"."orders" ("id", "note", "tags") FROM STDIN (FORMAT binary)"#);
    is(
        plan.copy_keys_out(&keys),
        r#"COPY (SELECT "id", "note", "tags" FROM ONLY "public"."Orders" WHERE ("id") IN
           (VALUES ('1'::bigint), ('it''s 2'::bigint))) TO STDOUT"#,
    );
    is(
        plan.delete_absent("s.t", &keys),
        r#"DELETE FROM ONLY "shop"."orders" AS t USING (SELECT ("id")::bigint AS "tablelift:k0" FROM
           (VALUES ('1'::bigint), ('it''s 2'::bigint)) AS src("id") WHERE NOT EXISTS
           (SELECT FROM s.t AS s WHERE s."id" = src."id")) AS gone WHERE t."id" = gone."tablelift:k0""#,
    );
    is(
        plan.copy_keys_numbered("t.*", &keys[..1]),
        r#"COPY (SELECT k.nth, t.* FROM ONLY "public"."Orders" AS t JOIN (VALUES (0, '1'::bigint)) AS k(nth, "tablelift:k0")
           ON t."id" = k."tablelift:k0") TO STDOUT"#,
    );
    is(
        plan.target_keys(Some(keys[0]), 9).unwrap(),
        r#"SELECT ARRAY[pg_catalog.format('%s', t."id")] FROM ONLY "shop"."orders" AS t WHERE true AND (t."id") > ('1'::bigint)
           ORDER BY t."id" LIMIT 9"#,
    );
    is(
        plan.absent_keys(&keys[..1]),
        r#"SELECT ARRAY[pg_catalog.format('%s', src."id")] FROM (VALUES ('1'::bigint)) AS src("id") WHERE NOT EXISTS
           (SELECT FROM ONLY "public"."Orders" AS t WHERE t."id" = src."id")"#,
    );
    is(
        plan.source_keys_between(&["3".to_owned()], &[]),
        r#"SELECT ARRAY[pg_catalog.format('%s', src."id")] FROM ONLY "public"."Orders" AS src WHERE true AND (src."id") >= ('3'::bigint)"#,
    );
}
