//! One statement behind the CREATE TABLE: most of them wait until the table's rows are there.

use crate::change::TableName;
use crate::pg::quote;
use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

/// What a statement makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The primary key. Before the load or behind it, as whoever runs it decides.
    Key,
    Index,
    /// Added NOT VALID: it holds for new rows at once.
    Check,
    /// A constraint over an index that is there.
    Unique,
    Analyze,
    /// Added NOT VALID.
    ForeignKey,
    /// Holds the rows that are there against a constraint.
    Validate,
}

/// A text that names no kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no kind of statement")]
pub struct UnknownKind;

const KINDS: [(Kind, &str, &str); 7] = [
    (Kind::Key, "key", "primary key"),
    (Kind::Index, "index", "index"),
    (Kind::Check, "check", "check"),
    (Kind::Unique, "unique", "unique constraint"),
    (Kind::Analyze, "analyze", "analyze of"),
    (Kind::ForeignKey, "foreign_key", "foreign key"),
    (Kind::Validate, "validate", "validation of"),
];

impl Kind {
    /// As it is recorded.
    pub fn code(self) -> &'static str {
        KINDS.iter().find(|(kind, ..)| *kind == self).map_or("", |(_, code, _)| code)
    }

    /// In a sentence, before its name.
    pub fn word(self) -> &'static str {
        KINDS.iter().find(|(kind, ..)| *kind == self).map_or("", |(.., word)| word)
    }

    /// Statements of one phase do not wait for each other; each phase waits for the ones before it. ANALYZE comes before the foreign
    /// keys, for their validation is planned with what it finds.
    pub fn phase(self) -> u8 {
        match self {
            Kind::Key => 0,
            Kind::Index | Kind::Check => 1,
            Kind::Unique => 2,
            Kind::Analyze => 3,
            Kind::ForeignKey => 4,
            Kind::Validate => 5,
        }
    }
}

impl FromStr for Kind {
    type Err = UnknownKind;

    fn from_str(text: &str) -> Result<Self, UnknownKind> {
        KINDS.iter().find(|(_, code, _)| *code == text).map(|(kind, ..)| *kind).ok_or(UnknownKind)
    }
}

/// One statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub kind: Kind,
    /// Of the index or the constraint; of the table, for ANALYZE.
    pub name: String,
    pub sql: String,
    /// Columns that it keeps unique, expressions left out; `None`: none.
    pub unique: Option<Vec<String>>,
    /// The target table that its rows refer to.
    pub refers: Option<TableName>,
}

impl Step {
    pub(super) fn new(kind: Kind, name: &str, sql: String) -> Self {
        Self { kind, name: name.to_owned(), sql, unique: None, refers: None }
    }

    pub(super) fn analyze(target: &TableName) -> Self {
        Self::new(Kind::Analyze, &target.name, format!("ANALYZE {}", quote::table(target)))
    }

    pub(super) fn validate(target: &TableName, name: &str) -> Self {
        let sql = format!("ALTER TABLE {} VALIDATE CONSTRAINT {}", quote::table(target), quote::ident(name));
        Self::new(Kind::Validate, name, sql)
    }

    /// The same while others write to the table: an index is built beside them.
    pub fn beside_writers(&self) -> Cow<'_, str> {
        for begins in ["CREATE INDEX ", "CREATE UNIQUE INDEX "] {
            if let Some(rest) = self.sql.strip_prefix(begins).filter(|_| self.kind == Kind::Index) {
                return Cow::Owned(format!("{begins}CONCURRENTLY {rest}"));
            }
        }
        Cow::Borrowed(&self.sql)
    }

    /// Whether it cannot run before `other` has, of the same table.
    pub fn needs(&self, other: &Step) -> bool {
        if other.kind == Kind::Key {
            return self.kind != Kind::Key && self.kind != Kind::Analyze;
        }
        match self.kind {
            Kind::Unique => other.kind == Kind::Index && other.name == self.name,
            Kind::Validate => matches!(other.kind, Kind::Check | Kind::ForeignKey) && other.name == self.name,
            _ => false,
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} `{}`", self.kind.word(), self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_is_built_beside_writers() {
        let index = Step::new(Kind::Index, "i", "CREATE UNIQUE INDEX \"i\" ON \"s\".\"t\" USING btree (a)".to_owned());
        assert_eq!(index.beside_writers(), "CREATE UNIQUE INDEX CONCURRENTLY \"i\" ON \"s\".\"t\" USING btree (a)");
        let table = TableName::new("s", "t");
        assert_eq!(Step::validate(&table, "c").beside_writers(), "ALTER TABLE \"s\".\"t\" VALIDATE CONSTRAINT \"c\"");
    }

    #[test]
    fn what_needs_what() {
        let step = |kind, name| Step::new(kind, name, String::new());
        let (index, check) = (step(Kind::Index, "a"), step(Kind::Check, "a"));
        assert!(step(Kind::Unique, "a").needs(&index) && !step(Kind::Unique, "b").needs(&index));
        assert!(step(Kind::Validate, "a").needs(&check) && !step(Kind::Validate, "a").needs(&index));
        assert!(index.needs(&step(Kind::Key, "pk")) && !step(Kind::Analyze, "t").needs(&step(Kind::Key, "pk")));
        for (kind, code, _) in KINDS {
            assert_eq!(code.parse(), Ok(kind));
        }
        assert_eq!("sequence".parse::<Kind>(), Err(UnknownKind));
    }
}
