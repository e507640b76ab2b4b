//! What the target can say.

use crate::change::TableName;
use crate::fate::Fate;
use crate::mapping::NotSupplied;
use std::error::Error as _;
use tokio_postgres::error::DbError;

/// A statement on the target failed.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    #[error("the target refused a statement for `{table}`")]
    Refused { table: TableName, source: tokio_postgres::Error },
    #[error("the target refused {action}")]
    Session { action: &'static str, source: tokio_postgres::Error },
    /// The same, and what it was about.
    #[error("{source}{about}")]
    Blamed { about: String, source: Box<TargetError> },
    #[error("`{table}`: {source}")]
    NotSupplied { table: TableName, source: NotSupplied },
    #[error("`{table}`: a delete, or an update, met no row in the target")]
    MissingBase { table: TableName },
    #[error("another tablelift has taken over this connector's checkpoint")]
    Fenced,
}

impl TargetError {
    /// Of what a statement that is bound to our epoch says: whether it still is ours.
    ///
    /// # Errors
    /// [`TargetError::Fenced`].
    pub fn fenced_unless(ours: bool) -> Result<(), Self> {
        if ours { Ok(()) } else { Err(Self::Fenced) }
    }

    pub fn fate(&self) -> Fate {
        match self {
            TargetError::Refused { source, .. } | TargetError::Session { source, .. } => crate::pg::fate_of(source),
            TargetError::Blamed { source, .. } => source.fate(),
            TargetError::NotSupplied { .. } | TargetError::MissingBase { .. } => Fate::Reject,
            TargetError::Fenced => Fate::Retry,
        }
    }

    /// What the server said, if it was the server.
    pub fn server(&self) -> Option<&DbError> {
        match self {
            TargetError::Refused { source, .. } | TargetError::Session { source, .. } => source.as_db_error(),
            TargetError::Blamed { source, .. } => source.server(),
            _ => None,
        }
    }

    /// A value, and not another row, is the reason: which one, the server does not always say.
    pub fn is_about_a_value(&self) -> bool {
        let unnamed = |error: &DbError| error.column().is_none() && !error.code().code().starts_with("23");
        self.fate() == Fate::Reject && self.server().is_some_and(unnamed)
    }

    /// The target's table that the server names.
    pub fn table(&self) -> Option<TableName> {
        let error = self.server()?;
        Some(TableName::new(error.schema()?, error.table()?))
    }

    /// SQLSTATE class 23 with a unique or exclusion constraint: another row stands in the way.
    pub fn is_unique_conflict(&self) -> bool {
        self.server().is_some_and(|error| matches!(error.code().code(), "23505" | "23P01"))
    }

    /// A foreign key's parent is missing, or a child still there.
    pub fn is_foreign_key(&self) -> bool {
        self.server().is_some_and(|error| error.code().code() == "23503")
    }

    /// Other rows are the reason, and may be others in a moment.
    pub fn may_pass(&self) -> bool {
        self.is_unique_conflict() || self.is_foreign_key()
    }

    /// For people, without a row's values: SQLSTATE, table, column, constraint; the server's own sentence only where it speaks of
    /// objects (class 42), since elsewhere it quotes values.
    pub fn without_values(&self) -> String {
        if let TargetError::Blamed { about, source } = self {
            return format!("{}{about}", source.without_values());
        }
        let Some(error) = self.server() else {
            let cause = self.source().map_or_else(String::new, |source| format!(": {source}"));
            return match self {
                TargetError::Refused { .. } | TargetError::Session { .. } => format!("{self}{cause}"),
                _ => self.to_string(),
            };
        };
        let mut text = format!("the target answered SQLSTATE {}", error.code().code());
        let column = error.column().or_else(|| error.where_().and_then(column_of_copy));
        for (name, value) in
            [("table", error.table()), ("column", column), ("constraint", error.constraint()), ("type", error.datatype())]
        {
            if let Some(value) = value {
                text += &format!(", {name} `{value}`");
            }
        }
        if crate::pg::of_objects(error) {
            text += &format!(": {}", error.message());
        } else if let Some(meaning) = crate::pg::meaning(error.code().code()) {
            text += &format!(": {meaning}");
        }
        text
    }
}

/// The column in the context of a COPY: `COPY name, line 7, column name: "value"` (PostgreSQL's `copyfromparse.c`).
fn column_of_copy(context: &str) -> Option<&str> {
    let (_, behind) = context.strip_prefix("COPY ")?.split_once(", line ")?;
    let (_, column) = behind.split_once(", column ")?;
    let end = [": \"", ": null input"].iter().filter_map(|end| column.find(end)).min();
    end.map(|end| &column[..end])
}
