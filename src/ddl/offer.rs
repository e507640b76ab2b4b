//! What a person may do about the indexes of a target table that is there already: rows go in faster without them. Only offered.

use crate::change::TableName;
use crate::pg::quote;
use serde::Serialize;

/// Statements for before the first copy and for after it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Rebuild {
    pub before: Vec<String>,
    pub after: Vec<String>,
}

/// An index of `table`: its name, its definition, and that of the constraint that it stands for.
pub fn rebuild<'a>(table: &TableName, indexes: impl IntoIterator<Item = (&'a str, &'a str, Option<&'a str>)>) -> Rebuild {
    let on = quote::table(table);
    let mut rebuild = Rebuild::default();
    for (name, definition, constraint) in indexes {
        let ident = quote::ident(name);
        match constraint {
            Some(constraint) => {
                rebuild.before.push(format!("ALTER TABLE {on} DROP CONSTRAINT {ident}"));
                rebuild.after.push(format!("ALTER TABLE {on} ADD CONSTRAINT {ident} {constraint}"));
            }
            None => {
                rebuild.before.push(format!("DROP INDEX {}.{ident}", quote::ident(&table.schema)));
                rebuild.after.push(definition.to_owned());
            }
        }
    }
    rebuild
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_comes_back() {
        let table = TableName::new("s", "t");
        let indexes = [("i", "CREATE INDEX i ON s.t USING btree (a)", None), ("u", "", Some("UNIQUE (b)"))];
        let Rebuild { before, after } = rebuild(&table, indexes);
        assert_eq!(before, ["DROP INDEX \"s\".\"i\"", "ALTER TABLE \"s\".\"t\" DROP CONSTRAINT \"u\""]);
        assert_eq!(after, ["CREATE INDEX i ON s.t USING btree (a)", "ALTER TABLE \"s\".\"t\" ADD CONSTRAINT \"u\" UNIQUE (b)"]);
    }
}
