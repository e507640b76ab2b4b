//! A plan's statements for copies: whole tables, chunks of them, and rows by their keys.

use super::TablePlan;
use super::sql::key_name;
use crate::pg::quote;

/// How a copy's rows travel from database to database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyForm {
    /// Straight into the table, PostgreSQL's binary form passed through unread: every column has one type on both sides.
    Binary,
    /// Straight into the table, as text.
    Text,
    /// As text into a staging table with the source's columns, over which the plan's own statement runs.
    Staging,
}

impl CopyForm {
    fn options(self) -> &'static str {
        if self == CopyForm::Binary { " (FORMAT binary)" } else { "" }
    }
}

/// Text of a source key's columns, in its order.
type Key = Vec<String>;

impl TablePlan {
    /// The columns of a typed staging table, for a first copy through expressions.
    pub fn staging_columns(&self) -> String {
        let columns = self.inputs.iter().map(|input| format!("{} {}", quote::ident(&input.name), input.sql_type));
        columns.collect::<Vec<_>>().join(", ")
    }

    /// Rows that are new, out of a staging table.
    pub fn insert_from(&self, staging: &str) -> String {
        self.insert(staging)
    }

    /// Rows that may be there, out of a staging table.
    pub fn upsert_from(&self, staging: &str) -> String {
        self.upsert(&format!("(SELECT * FROM {staging})"))
    }

    /// Brings a staging table's rows one by one, round after round for as long as one makes room for another, or is its parent. What the target
    /// still refuses for the sake of other rows stays in the staging table.
    pub fn sift_from(&self, staging: &str) -> String {
        let one = self.upsert(&format!("(SELECT * FROM {staging} WHERE ctid = tablelift_row.place)"));
        let body = format!(
            "#variable_conflict use_column
             DECLARE tablelift_row record; tablelift_moved boolean;
             BEGIN
               LOOP
                 tablelift_moved := false;
                 FOR tablelift_row IN SELECT ctid AS place FROM {staging} LOOP
                   BEGIN
                     {one};
                     DELETE FROM {staging} WHERE ctid = tablelift_row.place;
                     tablelift_moved := true;
                   EXCEPTION WHEN foreign_key_violation OR unique_violation OR exclusion_violation THEN
                   END;
                 END LOOP;
                 EXIT WHEN NOT tablelift_moved;
               END LOOP;
             END"
        );
        format!("DO LANGUAGE plpgsql {}", quote::literal(&body))
    }

    /// The source keys of a staging table's rows.
    pub fn staged_keys(&self, staging: &str) -> String {
        format!("SELECT {} FROM {staging} AS src", self.source_key())
    }

    /// The source's rows as COPY sends them: what the target's columns take as it is, or all that the plan uses, for a staging table.
    pub fn copy_out(&self, from: &str, condition: &str, form: CopyForm) -> String {
        let names: Vec<String> = match form {
            CopyForm::Staging => self.inputs.iter().map(|input| quote::ident(&input.name)).collect(),
            CopyForm::Text | CopyForm::Binary => {
                let plain = self.outputs.iter().filter_map(|output| output.plain);
                plain.map(|input| quote::ident(&self.inputs[input].name)).collect()
            }
        };
        format!("COPY (SELECT {} FROM ONLY {from} WHERE {condition}) TO STDOUT{}", names.join(", "), form.options())
    }

    /// Those of the source's rows that have these keys, for a staging table.
    pub fn copy_keys_out(&self, keys: &[&Key]) -> String {
        let columns: Vec<String> = self.inputs.iter().map(|input| quote::ident(&input.name)).collect();
        format!(
            "COPY (SELECT {} FROM {} WHERE ({}) IN (VALUES {})) TO STDOUT",
            columns.join(", "),
            self.source_only(),
            self.key_names().join(", "),
            self.key_values(keys)
        )
    }

    /// Those of the source's rows `t` that have these keys: the key's number, then the columns asked for.
    pub fn copy_keys_numbered(&self, columns: &str, keys: &[&Key]) -> String {
        let numbered: Vec<String> =
            keys.iter().enumerate().map(|(nth, key)| format!("({nth}, {})", self.key_value(key))).collect();
        let names: Vec<String> = (0..self.key.len()).map(key_name).collect();
        let same: Vec<String> =
            self.key_names().iter().zip(&names).map(|(column, name)| format!("t.{column} = k.{name}")).collect();
        format!(
            "COPY (SELECT k.nth, {columns} FROM {} AS t JOIN (VALUES {}) AS k(nth, {}) ON {}) TO STDOUT",
            self.source_only(),
            numbered.join(", "),
            names.join(", "),
            same.join(" AND ")
        )
    }

    /// Deletes the rows of these source keys, but those that the staging table holds.
    pub fn delete_absent(&self, staging: &str, keys: &[&Key]) -> String {
        let same = self.key_names().into_iter().map(|name| format!("s.{name} = src.{name}")).collect::<Vec<_>>();
        self.delete_where(keys, &format!(" WHERE NOT EXISTS (SELECT FROM {staging} AS s WHERE {})", same.join(" AND ")))
    }

    /// Deletes the rows of these source keys.
    pub fn delete_keys(&self, keys: &[&Key]) -> String {
        self.delete_where(keys, "")
    }

    fn delete_where(&self, keys: &[&Key], condition: &str) -> String {
        format!(
            "DELETE FROM {} AS t USING (SELECT {} FROM (VALUES {}) AS src({}){condition}) AS gone WHERE {}",
            self.into_only(),
            self.key_select(),
            self.key_values(keys),
            self.key_names().join(", "),
            self.key_match("gone"),
        )
    }

    fn key_names(&self) -> Vec<String> {
        self.key.iter().map(|&input| quote::ident(&self.inputs[input].name)).collect()
    }

    fn key_values(&self, keys: &[&Key]) -> String {
        keys.iter().map(|key| format!("({})", self.key_value(key))).collect::<Vec<_>>().join(", ")
    }

    fn key_value(&self, key: &[String]) -> String {
        let values = key.iter().zip(&self.key);
        let values = values.map(|(value, &input)| format!("{}::{}", quote::literal(value), self.inputs[input].sql_type));
        values.collect::<Vec<_>>().join(", ")
    }

    /// Where COPY puts them.
    pub fn copy_in(&self, staging: &str, form: CopyForm) -> String {
        match form {
            CopyForm::Staging => format!("COPY {staging} FROM STDIN"),
            CopyForm::Text | CopyForm::Binary => {
                format!("COPY {}{} FROM STDIN{}", self.into(), self.column_list(), form.options())
            }
        }
    }

    /// The best way of its rows into the target by COPY.
    pub fn copy_form(&self) -> CopyForm {
        match (self.straight() && !self.outputs.is_empty(), self.outputs.iter().all(|output| output.binary)) {
            (false, _) => CopyForm::Staging,
            (true, false) => CopyForm::Text,
            (true, true) => CopyForm::Binary,
        }
    }

    /// A page of the target's keys, as source keys, in the target's own order, behind the last key of the page before.
    pub fn target_keys(&self, behind: Option<&Key>, limit: usize) -> Option<String> {
        let columns = self.target_key_columns()?;
        let names: Vec<String> = columns.iter().map(|(_, column, _)| format!("t.{column}")).collect();
        let behind = behind.map_or_else(String::new, |key| {
            let values = columns.iter().zip(key).map(|((_, _, kind), value)| format!("{}::{kind}", quote::literal(value)));
            format!(" AND ({}) > ({})", names.join(", "), values.collect::<Vec<_>>().join(", "))
        });
        Some(format!(
            "SELECT ARRAY[{}] FROM {} AS t WHERE {}{behind} ORDER BY {} LIMIT {limit}",
            names.iter().map(|name| format!("pg_catalog.format('%s', {name})")).collect::<Vec<_>>().join(", "),
            self.into_only(),
            self.own_rows(),
            names.join(", ")
        ))
    }

    /// The rows of the target table may be of others too: a constant in its key tells which are of this entry.
    pub fn shares(&self) -> bool {
        self.key_constants().next().is_some()
    }

    /// Which rows of the target table `t` are of this entry.
    fn own_rows(&self) -> String {
        let same: String = self
            .key_constants()
            .map(|output| format!(" AND t.{} = ({})::{}", quote::ident(&output.column), output.expression, output.sql_type))
            .collect();
        format!("true{same}")
    }

    /// Whether the target holds a row that this entry could have brought.
    pub fn filled(&self) -> String {
        format!("SELECT EXISTS (SELECT FROM {} AS t WHERE {})", self.into_only(), self.own_rows())
    }

    /// Whether one of these rows has a value in this column.
    pub fn has_values(&self, column: &str) -> String {
        format!(
            "SELECT EXISTS (SELECT FROM {} AS t WHERE {} AND pg_catalog.num_nonnulls(t.{}) > 0)",
            self.into_only(),
            self.own_rows(),
            quote::ident(column)
        )
    }

    /// Takes away the rows of this entry. Where it shares the table with nobody, TRUNCATE does it, too.
    pub fn empty(&self) -> String {
        format!("DELETE FROM {} AS t WHERE {}", self.into_only(), self.own_rows())
    }

    /// Those of these keys that the source does not have.
    pub fn absent_keys(&self, keys: &[&Key]) -> String {
        let same: Vec<String> = self.key_names().iter().map(|name| format!("t.{name} = src.{name}")).collect();
        format!(
            "SELECT {} FROM (VALUES {}) AS src({}) WHERE NOT EXISTS (SELECT FROM {} AS t WHERE {})",
            self.source_key(),
            self.key_values(keys),
            self.key_names().join(", "),
            self.source_only(),
            same.join(" AND ")
        )
    }

    /// The source's keys between two bounds, both included; a bound may name the first columns of the key only, or nothing.
    pub fn source_keys_between(&self, from: &[String], to: &[String]) -> String {
        let columns: Vec<(String, String)> =
            self.key.iter().map(|&input| (quote::ident(&self.inputs[input].name), self.inputs[input].sql_type.clone())).collect();
        format!(
            "SELECT {} FROM {} AS src WHERE true{}{}",
            self.source_key(),
            self.source_only(),
            bound("src", &columns, ">=", from),
            bound("src", &columns, "<=", to)
        )
    }

    /// Asks the source whether a range's second bound lies before its first, as far as both name the key's columns.
    pub fn ends_before_it_begins(&self, from: &[String], to: &[String]) -> Option<String> {
        let common = from.len().min(to.len());
        let row = |values: &[String]| self.key_value(&values[..common]);
        (common > 0).then(|| format!("SELECT ROW({}) < ROW({})", row(to), row(from)))
    }

    /// The same of the target's.
    pub fn target_keys_between(&self, from: &[String], to: &[String]) -> Option<String> {
        let columns = self.target_key_columns()?;
        let names = columns.iter().map(|(_, column, _)| format!("pg_catalog.format('%s', t.{column})"));
        let pairs: Vec<(String, String)> = columns.iter().map(|(_, column, kind)| (column.clone(), kind.clone())).collect();
        Some(format!(
            "SELECT ARRAY[{}] FROM {} AS t WHERE {}{}{}",
            names.collect::<Vec<_>>().join(", "),
            self.into_only(),
            self.own_rows(),
            bound("t", &pairs, ">=", from),
            bound("t", &pairs, "<=", to)
        ))
    }

    /// For each column of the source's key, in its order: the input, the target's column quoted, its type.
    fn target_key_columns(&self) -> Option<Vec<(usize, String, String)>> {
        let column = |&input: &usize| {
            let output = self.key_outputs().find(|output| output.uses == [input])?;
            Some((input, quote::ident(&output.column), output.sql_type.clone()))
        };
        self.key.iter().map(column).collect()
    }
}

fn bound(table: &str, columns: &[(String, String)], operator: &str, values: &[String]) -> String {
    if values.is_empty() {
        return String::new();
    }
    let names = columns.iter().take(values.len()).map(|(name, _)| format!("{table}.{name}"));
    let values = columns.iter().zip(values).map(|((_, kind), value)| format!("{}::{kind}", quote::literal(value)));
    format!(" AND ({}) {operator} ({})", names.collect::<Vec<_>>().join(", "), values.collect::<Vec<_>>().join(", "))
}
