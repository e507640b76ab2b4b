//! Finding a plan's inputs in the rows of the stream: by name, anew for each Relation message, since columns may have come and gone between
//! them. The stream may be behind: it then brings a table as it was before a column came, went or got its name.

use super::{Ignore, Input, OnNewColumn, TablePlan};
use crate::change::{Cell, CommitLsn, Lsn, ReplicaIdentity, Row, Table};
use crate::pg::quote;
use tokio_postgres::types::Type;

/// Where each input of a plan stands in the rows of one relation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// None: the row is from before the column came.
    columns: Vec<Option<usize>>,
    /// The inputs are the row's columns, in order: nothing to look up.
    identical: bool,
    /// From here on a row without this column is no longer one from before it.
    until: Option<(Lsn, String)>,
}

/// How the stream's table no longer fits the plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Misfit {
    #[error("column `{0}` is gone from the source table")]
    Gone(String),
    #[error("column `{0}` changed its type in the source table")]
    Type(String),
    /// Its name, and the OID of its type.
    #[error("column `{0}` appeared in the source table")]
    New(String, u32),
    #[error("column `{0}` of the source table is another one: it was dropped and added again, or renamed")]
    Moved(String),
    #[error("key column `{0}` is no longer part of the replica identity")]
    Identity(String),
}

impl TablePlan {
    /// Finds the plan's inputs in a table of the stream.
    ///
    /// # Errors
    /// All the ways in which the table does not fit.
    pub fn bind(&self, table: &Table) -> Result<Binding, Vec<Misfit>> {
        let mut misfits = Vec::new();
        let mut columns = Vec::with_capacity(self.inputs.len());
        let mut until: Option<(Lsn, String)> = None;
        for (at, input) in self.inputs.iter().enumerate() {
            let Some(found) = table.columns.iter().position(|column| self.is_now(&column.name, &input.name)) else {
                match self.came(at, input, table) {
                    Some(lsn) if until.as_ref().is_none_or(|(earlier, _)| lsn < *earlier) => {
                        until = Some((lsn, input.name.clone()))
                    }
                    Some(_) => {}
                    None => misfits.push(Misfit::Gone(input.name.clone())),
                }
                columns.push(None);
                continue;
            };
            if table.columns[found].type_oid != input.source_type_oid {
                misfits.push(Misfit::Type(input.name.clone()));
            }
            let told = table.columns[found].identity || table.identity == ReplicaIdentity::Full;
            if self.key.contains(&at) && !told {
                misfits.push(Misfit::Identity(input.name.clone()));
            }
            columns.push(Some(found));
        }
        misfits.extend(self.new_columns(table));
        misfits.extend(self.moved(&columns));
        let identical = columns.len() == table.columns.len() && columns.iter().enumerate().all(|(at, &found)| Some(at) == found);
        if misfits.is_empty() { Ok(Binding { columns, identical, until }) } else { Err(misfits) }
    }

    /// What a person does about it.
    pub fn cure(&self, misfits: &[Misfit]) -> String {
        let new = |misfit: &Misfit| if let Misfit::New(name, type_oid) = misfit { Some((name.clone(), *type_oid)) } else { None };
        let Some(new) = misfits.iter().map(new).collect::<Option<Vec<_>>>() else {
            let anew = format!("change the target and the entry of `{}` to fit, then copy this table anew", self.source);
            return match misfits {
                [Misfit::Gone(was), Misfit::New(is, _)] => format!(
                    "where `{is}` is another name of `{was}`: ALTER TABLE {} RENAME COLUMN {} TO {} in the target, then send SIGHUP or \
                     restart; else {anew}",
                    quote::table(&self.into),
                    quote::ident(was),
                    quote::ident(is)
                ),
                _ => anew,
            };
        };
        let names: Vec<String> = new.iter().map(|(name, _)| format!("{name:?}")).collect();
        // of other types only the catalog knows the name
        let type_of = |oid| Type::from_oid(oid).map_or_else(|| "(its type)".to_owned(), |known| known.name().to_owned());
        let add: Vec<String> =
            new.iter().map(|(name, oid)| format!("ADD COLUMN {} {}", quote::ident(name), type_of(*oid))).collect();
        format!(
            "write `ignore = [{}]` in the entry of `{}`, or ALTER TABLE {} {} in the target (and copy the table anew if it has a default); \
             then send SIGHUP or restart",
            names.join(", "),
            self.source,
            quote::table(&self.into),
            add.join(", ")
        )
    }

    /// Whether a name of the stream is that of an input's column.
    fn is_now(&self, told: &str, name: &str) -> bool {
        told == name || self.former.get(told).is_some_and(|now| now.as_deref() == Some(name))
    }

    fn is_known(&self, name: &String) -> bool {
        self.known_columns.contains(name) || self.former.contains_key(name)
    }

    /// Until where a table may lack an input's column because that came later. Not if the table has a column that we know nothing of: that
    /// may be it, under another name.
    fn came(&self, at: usize, input: &Input, table: &Table) -> Option<Lsn> {
        let all_known = table.columns.iter().all(|column| self.is_known(&column.name));
        input.came.filter(|_| all_known && !self.key.contains(&at))
    }

    /// Columns keep their order for as long as they live: one that stands elsewhere is another one under the same name.
    fn moved(&self, columns: &[Option<usize>]) -> Option<Misfit> {
        let mut order: Vec<usize> = (0..self.inputs.len()).filter(|&at| columns[at].is_some()).collect();
        order.sort_unstable_by_key(|&at| self.inputs[at].column);
        let moved = order.windows(2).find(|pair| columns[pair[0]] > columns[pair[1]])?;
        Some(Misfit::Moved(self.inputs[moved[0]].name.clone()))
    }

    fn new_columns<'a>(&'a self, table: &'a Table) -> impl Iterator<Item = Misfit> + 'a {
        let ignored = move |name: &String| match &self.rule.ignore {
            Ignore::Rest => true,
            Ignore::Columns(names) => names.contains(name) || self.rule.on_new_column == OnNewColumn::Ignore,
        };
        let new = table.columns.iter().filter(move |column| !self.is_known(&column.name) && !ignored(&column.name));
        new.map(|column| Misfit::New(column.name.clone(), column.type_oid))
    }
}

impl Binding {
    /// The cell of a row that an input takes.
    pub fn cell<'a>(&self, row: &'a Row, input: usize) -> Option<Cell<'a>> {
        row.cell(self.columns[input]?)
    }

    /// Where an input stands in a row's cells.
    pub fn column(&self, input: usize) -> Option<usize> {
        self.columns[input]
    }

    /// A change that was committed here lacks a column that it must have.
    pub fn lacks(&self, commit: CommitLsn) -> Option<Misfit> {
        self.until.as_ref().filter(|(until, _)| commit.0 >= *until).map(|(_, column)| Misfit::Gone(column.clone()))
    }

    /// The plan's input cells of a row, in the order of the inputs, into `out`.
    pub fn cells<'a>(&self, row: &'a Row, out: &mut Vec<Cell<'a>>) {
        out.clear();
        if self.identical {
            out.extend(row.cells());
            return;
        }
        let all: Vec<Cell<'a>> = row.cells().collect();
        out.extend(self.columns.iter().map(|&column| column.and_then(|at| all.get(at).copied()).unwrap_or(Cell::Null)));
    }
}
