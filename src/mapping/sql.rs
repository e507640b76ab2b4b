//! A plan's statements. Each takes rows as one array per carried input (`unnest`), so that one text serves any number of rows,
//! and values as PostgreSQL's text, read by the type's own input function.
//!
//! The user's expressions are evaluated over a subselect named `src` that has the source's column names and nothing else.

use super::{KeyText, Kind, TablePlan, Wire};
use crate::pg::quote;

/// Inputs that are `Unchanged`: indexes, ascending.
pub type Partial = Vec<usize>;

/// What can be asked of a plan's target table.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Statement {
    /// `COPY ... FROM STDIN` in text form. Only of a straight plan.
    CopyIn,
    /// Rows that are new. Parameters: all inputs.
    Insert,
    /// Rows that may be there. Parameters: all inputs.
    Upsert,
    /// Rows whose listed inputs did not change. Parameters: the other inputs. Gives the source keys of the rows
    /// without a base.
    Update(Partial),
    /// One row that gets another key. Parameters: inputs but the listed ones, then the old key. Gives the new key if the base
    /// is missing.
    Move(Partial),
    /// The same as one UPDATE, where the target's own actions fire: they must not see a row go that only moves.
    Rekey(Partial),
    /// Evaluates one output's expression, to learn whether it is the one that the target refuses. Parameters: the inputs that it uses, for
    /// others may be what cannot be read.
    Probe(usize),
    /// Parameters: the key's inputs.
    Delete,
    /// One of equal rows of a keyless table. Parameters: all inputs. Gives 1 if there was none.
    DeleteOne,
}

/// An unchanged value that the target does not hold as it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the source did not send the unchanged value of column `{column}`, and the target does not hold it as it is")]
pub struct NotSupplied {
    pub column: String,
}

impl TablePlan {
    /// The statement's text.
    ///
    /// # Errors
    /// An unchanged input is needed that the target cannot supply.
    pub fn sql(&self, statement: &Statement) -> Result<String, NotSupplied> {
        let every: Vec<usize> = (0..self.inputs.len()).collect();
        Ok(match statement {
            Statement::CopyIn => format!("COPY {}{} FROM STDIN", self.into(), self.column_list()),
            Statement::Insert => self.insert(&self.rows(&every, 1)),
            Statement::Upsert => self.upsert(&self.rows(&every, 1)),
            Statement::Update(missing) => self.update(missing)?,
            Statement::Move(missing) => self.relocate(missing)?,
            Statement::Rekey(missing) => self.rekey(missing)?,
            Statement::Probe(output) => self.probe(*output, &self.rows(&self.outputs[*output].uses, 1)),
            Statement::Delete => format!(
                "DELETE FROM {} AS t USING (SELECT {} FROM {} AS src) AS gone WHERE {}",
                self.into_only(),
                self.key_select(),
                self.rows(&self.key, 1),
                self.key_match("gone"),
            ),
            Statement::DeleteOne => self.delete_one(&every),
        })
    }

    /// Inputs that a statement's parameters carry, in their order; a `Move`'s old key comes behind them.
    pub fn carried(&self, statement: &Statement) -> Vec<usize> {
        match statement {
            Statement::Update(missing) | Statement::Move(missing) | Statement::Rekey(missing) => self.present(missing),
            Statement::Probe(output) => self.outputs[*output].uses.clone(),
            Statement::Delete => self.key.clone(),
            _ => (0..self.inputs.len()).collect(),
        }
    }

    /// `(a, b)`, or nothing where there is no column.
    pub(super) fn column_list(&self) -> String {
        let names: Vec<String> = self.outputs.iter().map(|output| quote::ident(&output.column)).collect();
        if names.is_empty() { String::new() } else { format!(" ({})", names.join(", ")) }
    }

    pub(super) fn into(&self) -> String {
        quote::table(&self.into)
    }

    /// The target table where rows of it are looked for, changed or removed: a table that inherits from it has rows of its own.
    pub fn into_only(&self) -> String {
        quote::only(&self.into, self.into_partitioned)
    }

    /// The source table, likewise.
    pub fn source_only(&self) -> String {
        quote::only(&self.source, self.partitioned)
    }

    fn present(&self, missing: &Partial) -> Vec<usize> {
        (0..self.inputs.len()).filter(|input| !missing.contains(input)).collect()
    }

    /// A subselect of the parameters from number `first` on, with the inputs' names.
    fn rows(&self, inputs: &[usize], first: usize) -> String {
        if inputs.is_empty() {
            return format!("(SELECT FROM pg_catalog.generate_series(1, ${first}::bigint))");
        }
        let mut columns = Vec::with_capacity(inputs.len());
        let mut arrays = Vec::with_capacity(inputs.len());
        for (at, &input) in inputs.iter().enumerate() {
            let input = &self.inputs[input];
            let (carrier, cast) = match input.wire {
                Wire::Native => (input.sql_type.as_str(), String::new()),
                Wire::Text => ("pg_catalog.text", format!("::{}", input.sql_type)),
            };
            columns.push(format!("u.c{at}{cast} AS {}", quote::ident(&input.name)));
            arrays.push(format!("pg_catalog.unnest(${}::{carrier}[]) AS c{at}", first + at));
        }
        // in the list, for in FROM the server would first write all rows into a store of its own
        format!("(SELECT {} FROM (SELECT {}) AS u)", columns.join(", "), arrays.join(", "))
    }

    /// The old key of a row that gets another, whose parameters stand behind those of the inputs.
    fn old_rows(&self, present: &[usize]) -> String {
        self.rows(&self.key, present.len().max(1) + 1)
    }

    fn where_clause(&self) -> String {
        self.filter.as_ref().map_or_else(String::new, |filter| format!(" WHERE ({})", filter.sql))
    }

    pub(super) fn insert(&self, from: &str) -> String {
        self.insert_into(&self.into(), from)
    }

    pub(super) fn insert_into(&self, table: &str, from: &str) -> String {
        let expressions: Vec<String> = self.outputs.iter().map(|output| format!("({})", output.expression)).collect();
        format!(
            "INSERT INTO {table}{} OVERRIDING SYSTEM VALUE SELECT {} FROM {from} AS src{}",
            self.column_list(),
            expressions.join(", "),
            self.where_clause()
        )
    }

    pub(super) fn upsert(&self, rows: &str) -> String {
        let sets: Vec<String> = self
            .outputs
            .iter()
            // equal keys may differ in text (numeric 1.0 and 1.00): then the key is set as well
            .filter(|output| !output.key || self.key_text != KeyText::Exact)
            .map(|output| format!("{0} = excluded.{0}", quote::ident(&output.column)))
            .collect();
        let keys: Vec<String> = self.key_outputs().map(|output| quote::ident(&output.column)).collect();
        let conflict = format!("ON CONFLICT ({}) DO ", keys.join(", "));
        let action = if sets.is_empty() { "NOTHING".to_owned() } else { format!("UPDATE SET {}", sets.join(", ")) };
        match &self.filter {
            None => format!("{} {conflict}{action}", self.insert(rows)),
            Some(_) => format!(
                "WITH rows AS MATERIALIZED {rows}, left_filter AS ({}) {} {conflict}{action}",
                self.delete_filtered("rows"),
                self.insert("rows"),
            ),
        }
    }

    /// Deletes what no longer passes the filter.
    fn delete_filtered(&self, from: &str) -> String {
        let filter = self.filter.as_ref().map_or("true", |filter| filter.sql.as_str());
        format!(
            "DELETE FROM {} AS t USING (SELECT {} FROM {from} AS src WHERE ({filter}) IS NOT TRUE) AS gone WHERE {}",
            self.into_only(),
            self.key_select(),
            self.key_match("gone"),
        )
    }

    /// The target key's values, named so that no column of a user can be meant.
    pub(super) fn key_select(&self) -> String {
        let keys = self.key_outputs().enumerate();
        let keys = keys.map(|(at, output)| format!("({})::{} AS {}", output.expression, output.sql_type, key_name(at)));
        keys.collect::<Vec<_>>().join(", ")
    }

    /// The source key's values as an array of text, of a row `src`: as the type's own output function writes them, which a cast need not.
    pub(super) fn source_key(&self) -> String {
        let keys =
            self.key.iter().map(|&input| format!("pg_catalog.format('%s', src.{})", quote::ident(&self.inputs[input].name)));
        format!("ARRAY[{}]", keys.collect::<Vec<_>>().join(", "))
    }

    pub(super) fn key_match(&self, other: &str) -> String {
        let keys = self.key_outputs().enumerate();
        let keys = keys.map(|(at, output)| format!("t.{} = {other}.{}", quote::ident(&output.column), key_name(at)));
        keys.collect::<Vec<_>>().join(" AND ")
    }

    /// `t.column AS input` for each missing input that is needed.
    fn supplied(&self, missing: &Partial, needed: impl Fn(usize) -> bool) -> Result<Vec<String>, NotSupplied> {
        let mut columns = Vec::new();
        for &input in missing.iter().filter(|&&input| needed(input)) {
            let holder = self.outputs.iter().find(|output| output.plain == Some(input) && output.supplies);
            let name = &self.inputs[input].name;
            let holder = holder.ok_or_else(|| NotSupplied { column: name.clone() })?;
            columns.push(format!(", t.{} AS {}", quote::ident(&holder.column), quote::ident(name)));
        }
        Ok(columns)
    }

    /// Where a row without a base is a loss: everywhere, unless the filter can be decided without the base and says no.
    fn loss(&self, missing: &Partial) -> String {
        match &self.filter {
            Some(filter) if !filter.uses.iter().any(|input| missing.contains(input)) => format!("({})", filter.sql),
            _ => "true".to_owned(),
        }
    }

    fn update(&self, missing: &Partial) -> Result<String, NotSupplied> {
        let changed: Vec<_> = self
            .outputs
            .iter()
            .filter(|output| !output.key && output.uses.iter().any(|input| !missing.contains(input)))
            .collect();
        let filter: &[usize] = self.filter.as_ref().map_or(&[], |filter| &filter.uses);
        let needed = |input: usize| filter.contains(&input) || changed.iter().any(|output| output.uses.contains(&input));
        let supplied = self.supplied(missing, needed)?.concat();
        let values: Vec<String> =
            changed.iter().enumerate().map(|(at, output)| format!(", ({}) AS {}", output.expression, value_name(at))).collect();
        let sets: Vec<String> = changed
            .iter()
            .enumerate()
            .map(|(at, output)| format!("{} = new.{}", quote::ident(&output.column), value_name(at)))
            .collect();
        let keys: Vec<String> = (0..self.key_outputs().count()).map(key_name).collect();
        let mut text = format!(
            "WITH keyed AS MATERIALIZED (SELECT src.*, {keys_of} FROM {rows} AS src), \
             rows AS MATERIALIZED (SELECT keyed.*{supplied}, t.tableoid IS NOT NULL AS {found} FROM keyed LEFT JOIN {into} AS t ON {matches})",
            keys_of = self.key_select(),
            rows = self.rows(&self.present(missing), 1),
            into = self.into_only(),
            matches = self.key_match("keyed"),
            found = FOUND,
        );
        if !sets.is_empty() {
            text += &format!(
                ", updated AS (UPDATE {into} AS t SET {sets} FROM (SELECT {keys}{values} FROM rows AS src WHERE {FOUND}{filter}) AS new WHERE {matches})",
                into = self.into_only(),
                sets = sets.join(", "),
                keys = keys.join(", "),
                values = values.concat(),
                filter = self.filter.as_ref().map_or_else(String::new, |filter| format!(" AND ({})", filter.sql)),
                matches = self.key_match("new"),
            );
        }
        if self.filter.is_some() {
            text += &format!(", left_filter AS ({})", self.delete_filtered("rows"));
        }
        Ok(format!("{text} SELECT {} FROM rows AS src WHERE NOT {FOUND} AND {}", self.source_key(), self.loss(missing)))
    }

    fn relocate(&self, missing: &Partial) -> Result<String, NotSupplied> {
        let present = self.present(missing);
        let supplied: Vec<String> = self.supplied(missing, |_| true)?;
        let expressions: Vec<String> = self.outputs.iter().map(|output| format!("({})", output.expression)).collect();
        Ok(format!(
            "WITH gone AS (SELECT {key} FROM {old_rows} AS src), \
             t AS (DELETE FROM {only} AS t USING gone WHERE {matches} RETURNING t.*, true AS {found}), \
             rows AS MATERIALIZED (SELECT new.*{supplied}, t.{found} IS NOT NULL AS {found} FROM {new_rows} AS new LEFT JOIN t ON true), \
             moved AS (INSERT INTO {into}{columns} OVERRIDING SYSTEM VALUE SELECT {expressions} FROM rows AS src WHERE {found}{filter}) \
             SELECT {missing_key} FROM rows AS src WHERE NOT {found} AND {loss}",
            missing_key = self.source_key(),
            key = self.key_select(),
            old_rows = self.old_rows(&present),
            into = self.into(),
            only = self.into_only(),
            matches = self.key_match("gone"),
            found = FOUND,
            supplied = supplied.concat(),
            new_rows = self.rows(&present, 1),
            columns = self.column_list(),
            expressions = expressions.join(", "),
            filter = self.filter.as_ref().map_or_else(String::new, |filter| format!(" AND ({})", filter.sql)),
            loss = self.loss(missing),
        ))
    }

    /// Only of a plan without a filter.
    fn rekey(&self, missing: &Partial) -> Result<String, NotSupplied> {
        let present = self.present(missing);
        let values = self.outputs.iter().enumerate();
        let values: Vec<String> = values.map(|(at, output)| format!("({}) AS {}", output.expression, value_name(at))).collect();
        let sets = self.outputs.iter().enumerate();
        let sets: Vec<String> =
            sets.map(|(at, output)| format!("{} = new.{}", quote::ident(&output.column), value_name(at))).collect();
        let keys: Vec<String> = (0..self.key_outputs().count()).map(key_name).collect();
        let of_old: Vec<String> = keys.iter().map(|key| format!("t.{key}")).collect();
        Ok(format!(
            "WITH gone AS (SELECT {key} FROM {old_rows} AS src), \
             base AS (SELECT t.*, gone.*, true AS {FOUND} FROM {only} AS t JOIN gone ON {matches}), \
             rows AS MATERIALIZED (SELECT new.*{supplied}, {of_old}, t.{FOUND} IS NOT NULL AS {FOUND} FROM {new_rows} AS new LEFT JOIN base AS t ON true), \
             moved AS (UPDATE {only} AS t SET {sets} FROM (SELECT {keys}, {values} FROM rows AS src WHERE {FOUND}) AS new WHERE {old}) \
             SELECT {missing_key} FROM rows AS src WHERE NOT {FOUND}",
            missing_key = self.source_key(),
            key = self.key_select(),
            old_rows = self.old_rows(&present),
            only = self.into_only(),
            matches = self.key_match("gone"),
            old = self.key_match("new"),
            supplied = self.supplied(missing, |_| true)?.concat(),
            of_old = of_old.join(", "),
            new_rows = self.rows(&present, 1),
            sets = sets.join(", "),
            keys = keys.join(", "),
            values = values.join(", "),
        ))
    }

    fn delete_one(&self, every: &[usize]) -> String {
        debug_assert_eq!(self.kind, Kind::Keyless);
        let outputs = || self.outputs.iter().enumerate();
        let values: Vec<String> = outputs()
            .map(|(at, output)| format!("({})::{}::pg_catalog.text AS {}", output.expression, output.sql_type, value_name(at)))
            .collect();
        let equal: Vec<String> = outputs()
            .map(|(at, output)| {
                format!(" AND t.{}::pg_catalog.text IS NOT DISTINCT FROM gone.{}", quote::ident(&output.column), value_name(at))
            })
            .collect();
        format!(
            "WITH gone AS MATERIALIZED (SELECT {values} FROM {rows} AS src{filter}), \
             one AS (SELECT t.tableoid AS o, t.ctid AS c FROM {only} AS t, gone WHERE true{equal} LIMIT 1), \
             deleted AS (DELETE FROM {only} AS t USING one WHERE t.tableoid = one.o AND t.ctid = one.c RETURNING 1) \
             SELECT (SELECT pg_catalog.count(*) FROM gone) - (SELECT pg_catalog.count(*) FROM deleted)",
            values = values.join(", "),
            rows = self.rows(every, 1),
            filter = self.where_clause(),
            only = self.into_only(),
            equal = equal.concat(),
        )
    }
}

const FOUND: &str = "\"tablelift:found\"";

pub(super) fn key_name(at: usize) -> String {
    format!("\"tablelift:k{at}\"")
}

fn value_name(at: usize) -> String {
    format!("\"tablelift:v{at}\"")
}
