//! Foreign keys between lifted tables.

use super::constraint::without_not_valid;
use super::{Design, ForeignKey, Given, Kind, Step, left_out};
use crate::change::TableName;
use crate::pg::quote;
use std::collections::BTreeMap;

/// A table of this connector, to be made or there already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lifted {
    pub source: TableName,
    pub target: TableName,
    /// Target columns by the source column that they take as it is.
    pub plain: BTreeMap<String, String>,
    pub filter: Option<String>,
    /// Columns that a unique index keeps apart; `None`: the table is still to be made, and trying will tell.
    pub uniques: Option<Vec<Vec<String>>>,
}

/// How our own rows meet the target's foreign keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// They are not held against them (`triggers = "off"`).
    Unchecked,
    /// They are, and come in the source's order.
    InOrder,
    /// They are, and each table comes by itself.
    EachByItself,
}

/// Adds a table's foreign keys to its design, or says why not.
pub fn foreign_keys(design: &mut Design, given: &Given, lifted: &[Lifted], pace: Pace) {
    for key in &given.foreign_keys {
        match statement(design, key, lifted, pace) {
            Ok((sql, refers)) => {
                let step = Step { refers: Some(refers.clone()), ..Step::new(Kind::ForeignKey, &key.name, sql) };
                design.after_load.push(step);
                if key.validated {
                    design.after_load.push(Step { refers: Some(refers), ..Step::validate(&design.target, &key.name) });
                }
            }
            Err(why) => design.left_out.push(left_out(&design.target, "foreign key", &key.name, &why)),
        }
    }
    design.after_load.sort_by_key(|step| step.kind.phase());
}

fn statement(design: &Design, key: &ForeignKey, lifted: &[Lifted], pace: Pace) -> Result<(String, TableName), String> {
    let to = referred(design, key, lifted)?;
    let rest = without_not_valid(key.rest.as_deref().ok_or("its definition is not understood")?);
    if pace == Pace::EachByItself {
        return Err("with `triggers = \"fire\"` and Kafka its rows may come before those that they refer to".to_owned());
    }
    // the same words mean the same rows only where they speak of what both tables share, which the words do not say
    if let Some(other) = &to.filter {
        return Err(format!("`where` may leave out rows of `{}` that it refers to: {other}", to.source));
    }
    let columns = mapped(&key.columns, &design.plain, &design.source)?;
    let refers_to = mapped(&key.refers_to, &to.plain, &to.source)?;
    let same = |columns: &Vec<String>| columns.len() == refers_to.len() && columns.iter().all(|name| refers_to.contains(name));
    if to.uniques.as_ref().is_some_and(|uniques| !uniques.iter().any(same)) {
        return Err(format!("no unique index of `{}` is over the columns that it refers to", to.target));
    }
    if rest.contains('(') && columns != key.columns {
        return Err("it names columns for SET NULL or SET DEFAULT, and they have other names in the target".to_owned());
    }
    let list = |columns: &[String]| columns.iter().map(|name| quote::ident(name)).collect::<Vec<_>>().join(", ");
    let sql = format!(
        "ALTER TABLE {} ADD CONSTRAINT {} FOREIGN KEY ({}) REFERENCES {} ({}){rest} NOT VALID",
        quote::table(&design.target),
        quote::ident(&key.name),
        list(&columns),
        quote::table(&to.target),
        list(&refers_to),
    );
    Ok((sql, to.target.clone()))
}

/// The one table that it can mean: itself, the only one, or the only one in the same schema.
fn referred<'a>(design: &Design, key: &ForeignKey, lifted: &'a [Lifted]) -> Result<&'a Lifted, String> {
    let all: Vec<&Lifted> = lifted.iter().filter(|one| one.source == key.refers).collect();
    let near = |one: &&&Lifted| one.target.schema == design.target.schema;
    let own = all.iter().find(|one| one.target == design.target);
    let found = match (own, all.as_slice()) {
        (Some(own), _) => Some(own),
        (None, [one]) => Some(one),
        (None, _) => all.iter().find(near).filter(|_| all.iter().filter(near).count() == 1),
    };
    found.copied().ok_or_else(|| match all.len() {
        0 => format!("it refers to `{}`, which this connector does not lift", key.refers),
        _ => format!("it refers to `{}`, which is lifted to several tables", key.refers),
    })
}

fn mapped(columns: &[String], plain: &BTreeMap<String, String>, table: &TableName) -> Result<Vec<String>, String> {
    let one = |column: &String| plain.get(column).cloned().ok_or_else(|| column.clone());
    let all: Result<Vec<String>, String> = columns.iter().map(one).collect();
    all.map_err(|column| format!("column `{column}` of `{table}` is not in the target as it is"))
}
