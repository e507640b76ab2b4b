//! What a source table has beside the shapes of its columns. Its SQL names everything with its schema.

use crate::change::TableName;

/// One table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Given {
    /// One for each column of its shape.
    pub columns: Vec<GivenColumn>,
    pub indexes: Vec<Index>,
    pub checks: Vec<Constraint>,
    pub foreign_keys: Vec<ForeignKey>,
    /// Exclusion constraints.
    pub exclusions: Vec<Constraint>,
    /// Tables that it inherits from, other than as a partition.
    pub parents: Vec<TableName>,
    pub row_security: bool,
}

/// What its shape does not say of a column.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GivenColumn {
    pub default: Option<String>,
    /// An identity column, or one whose default draws from a sequence.
    pub drawn: bool,
    /// That sequence feeds other columns too.
    pub shared: bool,
    /// Where it is not its type's own.
    pub collation: Option<String>,
    pub identity: Option<Identity>,
    pub generated: Option<Generated>,
}

/// What an identity column is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// Else BY DEFAULT.
    pub always: bool,
    /// Of its sequence, where they are not PostgreSQL's own: `INCREMENT BY 10 START WITH 7`.
    pub options: String,
}

/// What a generated column is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Generated {
    /// `GENERATED ALWAYS AS (...) STORED`, or `VIRTUAL`.
    pub clause: String,
    /// Every column that it reads.
    pub uses: Vec<String>,
}

impl Generated {
    /// A virtual one, stored: servers before 18 have no other.
    pub fn stored(&self) -> Option<String> {
        self.clause.strip_suffix("VIRTUAL").map(|clause| format!("{clause}STORED"))
    }
}

/// An index.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Index {
    pub name: String,
    pub primary: bool,
    pub unique: bool,
    /// The replica identity.
    pub identity: bool,
    /// It was built to its end.
    pub valid: bool,
    /// Columns only, and no predicate.
    pub simple: bool,
    /// It stands for a UNIQUE constraint: what follows it there, such as ` DEFERRABLE`.
    pub constraint: Option<String>,
    /// What stands behind USING: the access method first. `None`: not understood.
    pub body: Option<String>,
    /// In its order, INCLUDE's too.
    pub parts: Vec<Part>,
    /// How many of the parts are the key.
    pub keys: usize,
    /// Every column that it reads.
    pub uses: Vec<String>,
}

/// A column of an index, or an expression.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// As it begins in the body.
    pub text: String,
    pub column: Option<String>,
}

impl Index {
    /// The columns of its key; expressions are left out.
    pub fn key_columns(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().take(self.keys).filter_map(|part| part.column.as_deref())
    }
}

/// A constraint with its text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Constraint {
    pub name: String,
    /// What stands behind its name.
    pub definition: String,
    /// The rows that are there were held against it.
    pub validated: bool,
    /// Every column that it reads.
    pub uses: Vec<String>,
}

/// A foreign key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignKey {
    pub name: String,
    pub columns: Vec<String>,
    pub refers: TableName,
    pub refers_to: Vec<String>,
    /// What follows: ` ON DELETE CASCADE` and the like. `None`: not understood.
    pub rest: Option<String>,
    pub validated: bool,
}
