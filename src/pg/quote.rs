//! Identifiers and literals as SQL (PostgreSQL's manual, 4.1). Pure: any room may name it.

use crate::change::TableName;

/// `"name"`, always quoted: keywords, case and unicode are then of no concern.
pub fn ident(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// `"schema"."name"`.
pub fn table(name: &TableName) -> String {
    format!("{}.{}", ident(&name.schema), ident(&name.name))
}

/// A table as a place of its own rows: a table that inherits from it has others. All rows of a partitioned one are in its partitions.
pub fn only(name: &TableName, partitioned: bool) -> String {
    if partitioned { table(name) } else { format!("ONLY {}", table(name)) }
}

/// `'text'`, right whatever `standard_conforming_strings` says.
pub fn literal(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    if quoted.contains('\\') { format!(" E'{}'", quoted.replace('\\', "\\\\")) } else { format!("'{quoted}'") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_names_stay_names() {
        assert_eq!(ident("a\"; drop table x; --"), "\"a\"\"; drop table x; --\"");
        assert_eq!(literal("it's"), "'it''s'");
        assert_eq!(literal("a\\'b"), " E'a\\\\''b'");
    }
}
