//! What a batch comes to, in a line: `+` insert, `~` update, `-` delete and their rows; `?` is unchanged TOAST. Of the sets `^` is an
//! upsert, and `~` an update of what is there.

use super::*;
use crate::change::{Before, Change, Column, CommitLsn, Lsn, Position, ReplicaIdentity, RowBuilder, Table, TableName};
use crate::mapping::{Input, Output, Rule, Wire};
use std::sync::Arc;

/// `id`, `n`, `large`; keyed by the first column, or by none.
fn plan(kind: Kind, key_text: KeyText) -> TablePlan {
    let names = ["id", "n", "large"].map(str::to_owned);
    let name = TableName::new("public", "t");
    let input = |(column, name): (usize, &String)| Input {
        name: name.clone(),
        column,
        source_type_oid: 20,
        sql_type: "bigint".to_owned(),
        wire: Wire::Native,
        key_text,
        integer: key_text == KeyText::Exact,
        came: None,
    };
    let output = |(column, name): (usize, &String)| Output {
        column: name.clone(),
        sql_type: "bigint".to_owned(),
        expression: name.clone(),
        uses: vec![column],
        plain: Some(column),
        key: column == 0,
        supplies: true,
        binary: true,
    };
    TablePlan {
        rule: Rule::plain(name.clone(), name.clone()),
        source: name.clone(),
        source_oid: 1,
        into: name.clone(),
        target: name,
        kind,
        partitioned: false,
        into_partitioned: false,
        inputs: names.iter().enumerate().map(input).collect(),
        outputs: names.iter().enumerate().map(output).collect(),
        key: if kind == Kind::Keyed { vec![0] } else { Vec::new() },
        filter: None,
        key_text,
        secondary_uniques: false,
        known_columns: names.to_vec(),
        former: std::collections::BTreeMap::new(),
        fingerprint: String::new(),
        cascades: false,
    }
}

fn table() -> Arc<Table> {
    let column = |name: &str| Column { name: name.to_owned(), type_oid: 20, type_modifier: -1, identity: name == "id" };
    let columns = ["id", "n", "large"].map(column).to_vec();
    Arc::new(Table { relation_id: 1, name: TableName::new("public", "t"), identity: ReplicaIdentity::Full, columns })
}

/// Missing cells are null.
fn row(text: &str) -> Row {
    let mut out = RowBuilder::new(3);
    let mut cells = text.split_whitespace();
    for _ in 0..3 {
        out.push(match cells.next() {
            None => Cell::Null,
            Some("?") => Cell::Unchanged,
            Some(text) => Cell::Text(text.as_bytes()),
        });
    }
    out.finish()
}

fn shown(row: &Row) -> String {
    let cells = row.cells().map_while(|cell| match cell {
        Cell::Null => None,
        Cell::Unchanged => Some("?".to_owned()),
        Cell::Text(text) => Some(String::from_utf8_lossy(text).into_owned()),
    });
    cells.collect::<Vec<_>>().join(" ")
}

/// `+ 1 a x`, `~ 1 b ?`, `~ 1 > 2 b x` (a key change), `- 1`.
fn item(text: &str) -> Item {
    let (sign, rest) = text.trim().split_at(1);
    let (old, new) = rest.split_once('>').map_or((None, rest), |(old, new)| (Some(old), new));
    let (op, before, after) = match sign {
        "+" => (Op::Insert, None, Some(new)),
        "~" => (Op::Update, old, Some(new)),
        _ => (Op::Delete, Some(new), None),
    };
    let before = before.map_or(Before::Absent, |text| Before::Key(row(text)));
    let position = Position::start_of(1, CommitLsn(Lsn(1)));
    let change = Change { position, table: table(), op, before, after: after.map(row) };
    let binding = plan(Kind::Keyed, KeyText::Exact).bind(&table()).map(Arc::new).map_err(Arc::new);
    Item { plan: 0, change, binding, base: Base::Exact }
}

fn reduced(plan: &TablePlan, changes: &str) -> String {
    shown_sets(plan, &changes.split(',').map(item).collect::<Vec<_>>())
}

/// The same while rows of the table are still to be read.
fn reduced_in_a_copy(plan: &TablePlan, changes: &str) -> String {
    let items = changes.split(',').map(item).map(|item| Item { base: Base::Mixed, ..item });
    shown_sets(plan, &items.collect::<Vec<_>>())
}

fn shown_sets(plan: &TablePlan, items: &[Item]) -> String {
    let binding = plan.bind(&table()).unwrap();
    let Some(sets) = reduce(plan, &binding, &items.iter().collect::<Vec<_>>()) else { return "one by one".to_owned() };
    let updates = sets.updates.values().flatten();
    let lists = [("-", sets.deletes.iter().collect()), ("~", updates.collect()), ("^", sets.upserts.iter().collect())];
    let lists = lists.into_iter().chain([("+", sets.inserts.iter().collect::<Vec<_>>())]);
    let shown = lists.flat_map(|(sign, rows)| rows.into_iter().map(move |row| format!("{sign} {}", shown(row))));
    shown.collect::<Vec<_>>().join(", ")
}

#[test]
fn in_a_copy_nothing_is_known_to_be_new() {
    let keyed = plan(Kind::Keyed, KeyText::Exact);
    for (changes, sets) in [
        ("+ 1 a x", "^ 1 a x"),
        ("+ 1 a x, ~ 1 b ?", "^ 1 b x"),
        ("~ 1 a x", "^ 1 a x"),
        ("~ 1 a ?", "~ 1 a ?"),
        ("~ 1 > 2 a x", "- 1, ^ 2 a x"),
        ("~ 1 > 2 a ?", "one by one"),
        ("- 1, + 1 a x", "^ 1 a x"),
    ] {
        assert_eq!(reduced_in_a_copy(&keyed, changes), sets, "{changes}");
    }
}

#[test]
fn chains_of_one_key() {
    let plan = plan(Kind::Keyed, KeyText::Exact);
    for (changes, sets) in [
        ("+ 1 a x", "+ 1 a x"),
        ("+ 1 a x, ~ 1 b x", "+ 1 b x"),
        ("+ 1 a x, - 1", "- 1"),
        ("~ 1 a x, ~ 1 b y", "^ 1 b y"),
        ("~ 1 a x, - 1", "- 1"),
        ("- 1, + 1 b y", "^ 1 b y"),
        ("+ 1 a x, - 1, + 1 b y, ~ 1 c y", "^ 1 c y"),
        // a key change is a delete and an insert, and may come back
        ("~ 1 > 2 a x", "- 1, + 2 a x"),
        ("~ 1 > 2 a x, ~ 2 > 3 b x", "- 1, - 2, + 3 b x"),
        ("~ 1 > 2 a x, ~ 2 > 1 b x", "- 2, ^ 1 b x"),
        ("- 2, ~ 1 > 2 a x", "- 1, ^ 2 a x"),
        ("~ 1 > 2 a x, + 1 b y", "^ 1 b y, + 2 a x"),
    ] {
        assert_eq!(reduced(&plan, changes), sets, "{changes}");
    }
}

#[test]
fn unchanged_values() {
    let plan = plan(Kind::Keyed, KeyText::Exact);
    for (changes, sets) in [
        ("~ 1 a ?", "~ 1 a ?"),
        ("~ 1 a ?, ~ 1 b ?", "~ 1 b ?"),
        ("+ 1 a x, ~ 1 b ?", "+ 1 b x"),
        ("~ 1 a x, ~ 1 b ?", "^ 1 b x"),
        ("~ 1 a ?, ~ 1 b y", "^ 1 b y"),
        ("~ 1 a ?, - 1", "- 1"),
        ("+ 1 a x, ~ 1 > 2 b ?", "- 1, + 2 b x"),
        // what is only in the target, or lies behind a delete, cannot be carried over
        ("~ 1 > 2 b ?", "one by one"),
        ("~ 1 a ?, ~ 1 > 2 b ?", "one by one"),
        ("- 1, ~ 1 b ?", "one by one"),
        ("+ 1 a ?", "one by one"),
    ] {
        assert_eq!(reduced(&plan, changes), sets, "{changes}");
    }
}

#[test]
fn keys_in_the_index_order() {
    let numbers = plan(Kind::Keyed, KeyText::Exact);
    assert_eq!(reduced(&numbers, "+ 10 a x, + 9 b x, + -1 c x, - 100, - 20"), "- 20, - 100, + -1 c x, + 9 b x, + 10 a x");
    let decimals = plan(Kind::Keyed, KeyText::Numeric);
    assert_eq!(reduced(&decimals, "+ 1.0 a x, ~ 1.00 b x, - 2, + 2.0 c x"), "^ 2.0 c x, + 1.00 b x");
    assert_eq!(reduced(&plan(Kind::Keyed, KeyText::Unsafe), "+ 1 a x"), "one by one");
}

#[test]
fn without_a_key_only_inserts_go_together() {
    let keyless = plan(Kind::Keyless, KeyText::Exact);
    assert_eq!(reduced(&keyless, "+ 1 a x, + 1 a x"), "+ 1 a x, + 1 a x");
    assert_eq!(reduced(&keyless, "+ 1 a x, - 1 a x"), "one by one");
}
