//! Finding a plan's inputs in the rows of the stream: by name, anew for each Relation message, since columns may have come and gone between them.

use super::{Ignore, OnNewColumn, TablePlan};
use crate::change::{Cell, ReplicaIdentity, Row, Table};

/// Where each input of a plan stands in the rows of one relation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    columns: Vec<usize>,
    /// The inputs are the row's columns, in order: nothing to look up.
    identical: bool,
}

/// How the stream's table no longer fits the plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Misfit {
    #[error("column `{0}` is gone from the source table")]
    Gone(String),
    #[error("column `{0}` changed its type in the source table")]
    Type(String),
    #[error("column `{0}` appeared in the source table")]
    New(String),
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
        for (at, input) in self.inputs.iter().enumerate() {
            let Some(found) = table.columns.iter().position(|column| column.name == input.name) else {
                misfits.push(Misfit::Gone(input.name.clone()));
                continue;
            };
            if table.columns[found].type_oid != input.source_type_oid {
                misfits.push(Misfit::Type(input.name.clone()));
            }
            let told = table.columns[found].identity || table.identity == ReplicaIdentity::Full;
            if self.key.contains(&at) && !told {
                misfits.push(Misfit::Identity(input.name.clone()));
            }
            columns.push(found);
        }
        misfits.extend(self.new_columns(table));
        misfits.extend(self.moved(&columns));
        let identical = columns.len() == table.columns.len() && columns.iter().enumerate().all(|(at, &found)| at == found);
        if misfits.is_empty() { Ok(Binding { columns, identical }) } else { Err(misfits) }
    }

    /// Columns keep their order for as long as they live: one that stands elsewhere is another one under the same name.
    fn moved(&self, columns: &[usize]) -> Option<Misfit> {
        if columns.len() < self.inputs.len() {
            return None;
        }
        let mut order: Vec<usize> = (0..self.inputs.len()).collect();
        order.sort_unstable_by_key(|&at| self.inputs[at].column);
        let moved = order.windows(2).find(|pair| columns[pair[0]] > columns[pair[1]])?;
        Some(Misfit::Moved(self.inputs[moved[0]].name.clone()))
    }

    fn new_columns<'a>(&'a self, table: &'a Table) -> impl Iterator<Item = Misfit> + 'a {
        let ignored = move |name: &String| match &self.rule.ignore {
            Ignore::Rest => true,
            Ignore::Columns(names) => names.contains(name) || self.rule.on_new_column == OnNewColumn::Ignore,
        };
        let names = table.columns.iter().map(|column| &column.name);
        names.filter(move |name| !self.known_columns.contains(name) && !ignored(name)).map(|name| Misfit::New(name.clone()))
    }
}

impl Binding {
    /// The row's column that holds an input.
    pub fn column(&self, input: usize) -> usize {
        self.columns[input]
    }

    /// The plan's input cells of a row, in the order of the inputs, into `out`.
    pub fn cells<'a>(&self, row: &'a Row, out: &mut Vec<Cell<'a>>) {
        out.clear();
        if self.identical {
            out.extend(row.cells());
            return;
        }
        let all: Vec<Cell<'a>> = row.cells().collect();
        out.extend(self.columns.iter().map(|&column| all.get(column).copied().unwrap_or(Cell::Null)));
    }
}
