//! Every statement's text for one table with a bit of everything: what is sent to the target is read here as it stands.

use super::*;
use crate::change::{ReplicaIdentity, TableName};
use crate::mapping::{ExpressionFacts, Facts, Ignore, Rule, SourceColumn, SourceShape};
use std::collections::BTreeSet;

const COLUMNS: [(&str, &str, &str); 6] = [
    ("id", "bigint", "bigint"),
    ("email", "character varying(80)", "character varying"),
    ("cents", "integer", "integer"),
    ("mood", "public.mood", "public.mood"),
    ("note", "text", "text"),
    ("legacy", "bytea", "bytea"),
];

fn source() -> SourceShape {
    let column = |(name, type_name, type_base): (&str, &str, &str)| SourceColumn {
        name: name.to_owned(),
        type_name: type_name.to_owned(),
        type_base: type_base.to_owned(),
        type_oid: 20,
        type_kind: 'b',
        type_category: 'N',
        not_null: ["id", "email", "cents"].contains(&name),
        generated: None,
        collation_deterministic: true,
        number: 0,
        has_default: false,
    };
    SourceShape {
        name: TableName::new("public", "users"),
        oid: 1,
        kind: 'r',
        identity: ReplicaIdentity::Default,
        identity_columns: vec!["id".to_owned()],
        primary_key: vec!["id".to_owned()],
        unique_index: None,
        columns: COLUMNS.into_iter().map(column).collect(),
        rows_estimated: 0,
        bytes: 0,
    }
}

fn rule() -> Rule {
    let columns = [("user_id", "id"), ("total", "cents / 100.0")].map(|(column, sql)| (column.to_owned(), sql.to_owned()));
    Rule {
        columns: columns.to_vec(),
        ignore: Ignore::Columns(vec!["legacy".to_owned()]),
        ..Rule::plain(TableName::new("public", "users"), TableName::new("shop", "users"))
    }
}

/// The target has no type `mood`.
fn facts() -> Facts {
    let facts =
        |type_name: &str, used: usize| ExpressionFacts { type_oid: 20, type_name: type_name.to_owned(), uses: vec![used] };
    let input = |(_, _, base): &(&str, &str, &str)| if *base == "public.mood" { "text".to_owned() } else { (*base).to_owned() };
    Facts {
        columns: vec![facts("bigint", 0), facts("numeric", 2)],
        filter: None,
        input_types: COLUMNS.iter().map(input).collect(),
    }
}

fn index(name: &str, columns: &[&str], body: &str) -> Index {
    let part = |column: &&str| Part { text: (*column).to_owned(), column: Some((*column).to_owned()) };
    Index {
        name: name.to_owned(),
        valid: true,
        simple: true,
        body: Some(body.to_owned()),
        parts: columns.iter().map(part).collect(),
        keys: columns.len(),
        uses: columns.iter().map(|&column| column.to_owned()).collect(),
        ..Index::default()
    }
}

fn check(name: &str, column: &str, validated: bool) -> Constraint {
    let definition = format!("CHECK (({column} <> '')){}", if validated { "" } else { " NOT VALID" });
    Constraint { name: name.to_owned(), definition, validated, uses: vec![column.to_owned()] }
}

fn given() -> Given {
    let mut columns = vec![GivenColumn::default(); COLUMNS.len()];
    columns[0].drawn = true;
    columns[0].default = Some("nextval('public.users_id_seq'::regclass)".to_owned());
    columns[1].collation = Some("\"C\"".to_owned());
    columns[4].default = Some("'none'::text".to_owned());
    let key = Index { primary: true, unique: true, ..index("users_pkey", &["id"], "btree (id)") };
    let email = Index {
        unique: true,
        constraint: Some(" DEFERRABLE".to_owned()),
        ..index("users_email_key", &["email"], "btree (email)")
    };
    Given {
        parents: Vec::new(),
        row_security: false,
        columns,
        indexes: vec![
            key,
            email,
            index("by_id", &["id", "note"], "btree (id DESC, note)"),
            index("by_cents", &["cents"], "btree (cents)"),
            index("taken", &["note"], "btree (note)"),
        ],
        checks: vec![check("note_there", "note", true), check("email_there", "email", false), check("of_cents", "cents", true)],
        foreign_keys: Vec::new(),
        exclusions: Vec::new(),
    }
}

fn made() -> Design {
    let mut taken = BTreeSet::from(["taken".to_owned()]);
    design(&rule(), &source(), &facts(), &given(), &Ground::default(), &mut taken)
}

#[test]
fn a_table_with_a_bit_of_everything() {
    let design = made();
    assert_eq!(
        design.create(),
        [
            "CREATE SCHEMA IF NOT EXISTS \"shop\"",
            "CREATE TABLE \"shop\".\"users\" (\n    \
                 \"user_id\" bigint NOT NULL,\n    \
                 \"total\" numeric,\n    \
                 \"email\" character varying(80) COLLATE \"C\" NOT NULL,\n    \
                 \"mood\" text,  -- the target has no type public.mood\n    \
                 \"note\" text DEFAULT 'none'::text\n)",
        ]
    );
    let key = design.key.unwrap();
    assert_eq!(key.sql, "ALTER TABLE \"shop\".\"users\" ADD CONSTRAINT \"users_pkey\" PRIMARY KEY (\"user_id\")");
    let steps: Vec<(&str, &str)> = design.after_load.iter().map(|step| (step.kind.code(), step.sql.as_str())).collect();
    assert_eq!(
        steps,
        [
            ("index", "CREATE UNIQUE INDEX \"users_email_key\" ON \"shop\".\"users\" USING btree (email)"),
            ("index", "CREATE INDEX \"by_id\" ON \"shop\".\"users\" USING btree (\"user_id\" DESC, \"note\")"),
            ("index", "CREATE INDEX \"taken_1\" ON \"shop\".\"users\" USING btree (note)"),
            ("check", "ALTER TABLE \"shop\".\"users\" ADD CONSTRAINT \"note_there\" CHECK ((note <> '')) NOT VALID"),
            ("check", "ALTER TABLE \"shop\".\"users\" ADD CONSTRAINT \"email_there\" CHECK ((email <> '')) NOT VALID"),
            (
                "unique",
                "ALTER TABLE \"shop\".\"users\" ADD CONSTRAINT \"users_email_key\" UNIQUE USING INDEX \"users_email_key\" DEFERRABLE"
            ),
            ("analyze", "ANALYZE \"shop\".\"users\""),
            ("validate", "ALTER TABLE \"shop\".\"users\" VALIDATE CONSTRAINT \"note_there\""),
        ]
    );
    assert_eq!(design.after_load[0].unique, Some(vec!["email".to_owned()]));
    let told: Vec<&str> = design.left_out.iter().map(|finding| finding.code).collect();
    assert_eq!(told, ["table.target_sequence", "table.target_used_up", "table.target_index", "table.target_constraint"]);
    assert!(
        design.left_out[1].what.ends_with("`cents`")
            && design.left_out[1].remedy_text().ends_with("\"cents\" = \"\\\"cents\\\"\"")
    );
    assert_eq!(
        design.left_out[0].remedy_text().lines().last(),
        Some("ALTER TABLE \"shop\".\"users\" ALTER COLUMN \"user_id\" ADD GENERATED BY DEFAULT AS IDENTITY;")
    );
}

#[test]
fn what_the_target_refuses_takes_along_what_stands_on_it() {
    let mut design = made();
    let refused = design.after_load.iter().find(|step| step.name == "users_email_key").cloned().unwrap();
    design.without(&refused);
    assert!(!design.after_load.iter().any(|step| step.name == "users_email_key"));
    assert_eq!(design.after_load.len(), 6);
}

#[test]
fn a_key_reaches_the_target_though_an_expression_uses_it() {
    let ignored = Rule { ignore: Ignore::Rest, columns: vec![("label".to_owned(), "id || note".to_owned())], ..rule() };
    let facts = Facts { columns: facts().columns[..1].to_vec(), ..facts() };
    let design =
        design(&ignored, &source(), &facts, &given(), &Ground { schema_there: true, ..Ground::default() }, &mut BTreeSet::new());
    assert_eq!(design.columns.iter().map(|column| column.name.as_str()).collect::<Vec<_>>(), ["label", "id"]);
    assert_eq!((design.create().len(), design.key.unwrap().unique), (1, Some(vec!["id".to_owned()])));
}

#[test]
fn identity_and_generated_columns() {
    let mut source = source();
    source.columns[2].generated = Some("id * 2".to_owned());
    source.columns[5].generated = Some("note".to_owned());
    let rule = Rule::plain(source.name.clone(), source.name.clone());
    let mut given = given();
    given.columns[0].identity = Some(Identity { always: true, options: "INCREMENT BY 10".to_owned() });
    let clause = |sql: &str, uses: &str| Generated { clause: format!("GENERATED {sql}"), uses: vec![uses.to_owned()] };
    given.columns[2].generated = Some(clause("TWICE", "id"));
    given.columns[5].generated = Some(clause("OF MOOD", "mood"));
    let facts = Facts { columns: Vec::new(), ..facts() };
    let there = Ground { schema_there: true, ..Ground::default() };
    let made = |source: &SourceShape, ground: &Ground| design(&rule, source, &facts, &given, ground, &mut BTreeSet::new());
    let codes = |design: &Design| design.left_out.iter().map(|finding| finding.code).take(2).collect::<Vec<_>>();
    let first = made(&source, &there);
    assert_eq!(
        first.table(),
        "CREATE TABLE \"public\".\"users\" (\n    \
             \"id\" bigint GENERATED ALWAYS AS IDENTITY (INCREMENT BY 10) NOT NULL,\n    \
             \"email\" character varying(80) COLLATE \"C\" NOT NULL,\n    \
             \"cents\" integer GENERATED TWICE NOT NULL,\n    \
             \"mood\" text,  -- the target has no type public.mood\n    \
             \"note\" text DEFAULT 'none'::text\n)"
    );
    // what reads a column that is another one there is left out, and said
    assert_eq!(codes(&first), ["table.target_identity", "table.target_ungenerated"]);
    assert!(first.after_load.iter().any(|step| step.name == "by_cents"));
    // an update of ours would set it
    source.primary_key = vec!["email".to_owned()];
    source.identity_columns = source.primary_key.clone();
    let refused = Ground { not_generated: vec![(2, "no such function".to_owned())], ..there };
    let second = made(&source, &refused);
    assert!(second.table().contains("\"id\" bigint GENERATED BY DEFAULT AS IDENTITY (INCREMENT BY 10)"));
    assert!(
        !second.table().contains("cents") && second.left_out[1].what.ends_with("for the target refuses it: no such function")
    );
    assert!(second.left_out[0].remedy_text().ends_with("ALTER COLUMN \"id\" SET GENERATED ALWAYS;"));
    // a version that has no virtual ones
    given.columns[2].generated = Some(clause("AS (id * 2) VIRTUAL", "id"));
    let ground = Ground { schema_there: true, stored: [2].into(), ..Ground::default() };
    let third = design(&rule, &source, &facts, &given, &ground, &mut BTreeSet::new());
    assert!(third.table().contains("\"cents\" integer GENERATED AS (id * 2) STORED"), "{}", third.table());
    assert!(third.left_out.iter().any(|finding| finding.code == "table.target_stored"), "{:?}", third.left_out);
}

#[test]
fn types_and_their_schemas_come_first() {
    let labels = TypeForm::Enum(vec!["a".to_owned()]);
    let one = |schema: &str| GivenType { name: format!("{schema}.m"), schema: schema.to_owned(), form: labels.clone() };
    let make = |schema| TypeToMake { given: one(schema), schema: true };
    let design = Design { types: vec![make("shop"), make("\"A b\"")], ..made() };
    let sql = design.create();
    assert_eq!(sql[..2], ["CREATE SCHEMA IF NOT EXISTS shop", "CREATE SCHEMA IF NOT EXISTS \"A b\""]);
    assert_eq!(sql[2..4], ["CREATE TYPE shop.m AS ENUM ('a')", "CREATE TYPE \"A b\".m AS ENUM ('a')"]);
    assert!(sql[4].starts_with("CREATE TABLE") && sql.len() == 5);
}

fn foreign_key(columns: &[&str], refers_to: &[&str], rest: &str) -> ForeignKey {
    let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    ForeignKey {
        name: "fk".to_owned(),
        columns: owned(columns),
        refers: TableName::new("public", "towns"),
        refers_to: owned(refers_to),
        rest: Some(rest.to_owned()),
        validated: true,
    }
}

fn towns(schema: &str) -> Lifted {
    Lifted {
        source: TableName::new("public", "towns"),
        target: TableName::new(schema, "towns"),
        plain: [("id".to_owned(), "town_id".to_owned())].into(),
        filter: None,
        uniques: None,
    }
}

/// The statement, or why there is none.
fn related(key: ForeignKey, lifted: &[Lifted], pace: Pace) -> String {
    let mut design = made();
    design.left_out.clear();
    let given = Given { foreign_keys: vec![key], ..given() };
    foreign_keys(&mut design, &given, lifted, pace);
    let found: Vec<&Step> = design.after_load.iter().filter(|step| step.refers.is_some()).collect();
    match (found.as_slice(), design.left_out.as_slice()) {
        ([add, validate], []) => {
            assert_eq!((add.kind, validate.kind), (Kind::ForeignKey, Kind::Validate));
            add.sql.clone()
        }
        ([], [left]) => left.what.clone(),
        other => panic!("{other:#?}"),
    }
}

#[test]
fn foreign_keys_between_lifted_tables() {
    let key = || foreign_key(&["id"], &["id"], " ON DELETE CASCADE");
    assert_eq!(
        related(key(), &[towns("shop"), towns("elsewhere")], Pace::Unchecked),
        "ALTER TABLE \"shop\".\"users\" ADD CONSTRAINT \"fk\" FOREIGN KEY (\"user_id\") REFERENCES \"shop\".\"towns\" (\"town_id\") \
         ON DELETE CASCADE NOT VALID"
    );
    let filtered = Lifted { filter: Some("id > 5".to_owned()), ..towns("shop") };
    let keyed = Lifted { uniques: Some(vec![vec!["other".to_owned()]]), ..towns("shop") };
    let told = [
        (related(key(), &[], Pace::Unchecked), "which this connector does not lift"),
        (related(key(), &[towns("a"), towns("b")], Pace::Unchecked), "is lifted to several tables"),
        (related(key(), &[towns("shop")], Pace::EachByItself), "its rows may come before those"),
        (related(key(), &[filtered], Pace::Unchecked), "may leave out rows of `public.towns` that it refers to: id > 5"),
        (related(key(), &[keyed], Pace::InOrder), "no unique index of `shop.towns`"),
        (related(foreign_key(&["cents"], &["id"], ""), &[towns("shop")], Pace::InOrder), "column `cents` of `public.users`"),
        (related(foreign_key(&["id"], &["name"], ""), &[towns("shop")], Pace::InOrder), "column `name` of `public.towns`"),
        (related(foreign_key(&["id"], &["id"], " ON DELETE SET NULL (id)"), &[towns("shop")], Pace::InOrder), "SET NULL"),
    ];
    for (found, part) in told {
        assert!(found.contains(part), "no `{part}` in {found}");
    }
}
