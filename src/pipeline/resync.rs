//! `resync` and `copy`: what a person asks of the copy, written where the daemon finds it. It need not run.

use super::{PipelineError, Tasks, session};
use crate::catalog;
use crate::change::TableName;
use crate::config::Connector;
use crate::mapping::{Kind, Rule, TablePlan};
use crate::pg::quote;
use crate::preflight;
use crate::store::copy_range::{self, Scope};
use crate::store::{self, reread, table_state};
use std::collections::BTreeSet;
use tokio_postgres::Client;

/// Keys that are written at once.
const PAGE: usize = 5000;

/// What is to be read again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    Table,
    /// Single keys, and ranges `A..B`, as a person writes them.
    Rows {
        keys: Vec<String>,
        ranges: Vec<String>,
    },
}

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    pub target: TableName,
    /// `None`: all of them.
    pub rows: Option<u64>,
}

/// Nothing was asked for.
#[derive(Debug, thiserror::Error)]
pub enum ResyncError {
    /// The command is wrong.
    #[error("{what}\n  hint: {hint}")]
    Wrong { what: String, hint: String },
    #[error(transparent)]
    Failed(#[from] PipelineError),
}

fn wrong(what: impl Into<String>, hint: impl Into<String>) -> ResyncError {
    ResyncError::Wrong { what: what.into(), hint: hint.into() }
}

/// Asks for rows, or whole tables, to be read again from the source. `table`: by the name of either side.
///
/// # Errors
/// See [`ResyncError`].
pub async fn resync(connector: &Connector, table: &TableName, wish: &Wish) -> Result<Vec<Asked>, ResyncError> {
    let tasks = Tasks::default();
    let name = connector.object_name();
    let source = session::open(&tasks, &connector.source.endpoint, &name).await.map_err(PipelineError::Source)?;
    let mut target = session::open(&tasks, &connector.target.endpoint, &name).await.map_err(PipelineError::Target)?;
    recorded(&target, connector).await?;
    let relations = catalog::relations(&source).await.map_err(PipelineError::from)?;
    let (rules, _) = preflight::expand(connector, &relations);
    let named = |name: &TableName| name == table;
    let mine = |rule: &Rule| named(&rule.source) || named(&rule.target) || named(rule.table());
    if !rules.iter().any(mine) {
        let known: Vec<String> = rules.iter().map(|rule| format!("`{}`", rule.source)).collect();
        return Err(wrong(
            format!("no entry of the connector file is about `{table}`"),
            format!("there are {}", known.join(", ")),
        ));
    }
    let compiled = preflight::compile(&source, &mut target, &rules, mine).await.map_err(PipelineError::from)?;
    let mut asked = Vec::new();
    for one in compiled {
        let plan = one.plan.map_err(PipelineError::Findings)?;
        let rows = match wish {
            Wish::Table => whole(&source, &target, connector, &plan).await.map(|()| None)?,
            Wish::Rows { keys, ranges } => Some(some(&source, &target, connector, &plan, keys, ranges).await?),
        };
        asked.push(Asked { target: plan.target, rows });
    }
    Ok(asked)
}

async fn recorded(target: &Client, connector: &Connector) -> Result<(), ResyncError> {
    if store::schema::exists(target).await.map_err(PipelineError::from)? {
        store::schema::ensure(target).await.map_err(PipelineError::from)?;
        if store::connector::read(target, &connector.name).await.map_err(PipelineError::from)?.is_some() {
            return Ok(());
        }
    }
    Err(PipelineError::Belief {
        what: format!("`{}` was never started", connector.name),
        hint: "`tablelift run` makes the first copy".to_owned(),
    }
    .into())
}

async fn whole(source: &Client, target: &Client, connector: &Connector, plan: &TablePlan) -> Result<(), ResyncError> {
    if plan.kind != Kind::Keyed {
        return Err(keyless(plan));
    }
    let parts = catalog::parts(source, std::slice::from_ref(&plan.source)).await.map_err(PipelineError::from)?;
    let ranges = crate::chunk::plan(parts.get(&plan.source).map_or(&[][..], Vec::as_slice));
    let states = table_state::read(target, &connector.name).await.map_err(PipelineError::from)?;
    match states.iter().find(|state| state.target == plan.target) {
        Some(state)
            if state.copied
                && copy_range::resync(target, &connector.name, &plan.target, &ranges, Scope::Whole)
                    .await
                    .map_err(PipelineError::from)? =>
        {
            Ok(())
        }
        Some(_) => Err(wrong(format!("`{}` is being copied already", plan.target), "`tablelift status` shows how far it is")),
        None => Err(wrong(format!("`{}` is not copied yet", plan.target), "`tablelift run`, or SIGHUP if it runs, takes it on")),
    }
}

fn keyless(plan: &TablePlan) -> ResyncError {
    wrong(
        format!("`{}` has no key, and its rows cannot be told apart", plan.source),
        "remove its entry, run once, empty the target table, and add the entry again: it is then copied anew",
    )
}

async fn some(
    source: &Client,
    target: &Client,
    connector: &Connector,
    plan: &TablePlan,
    keys: &[String],
    ranges: &[String],
) -> Result<u64, ResyncError> {
    if plan.kind != Kind::Keyed {
        return Err(keyless(plan));
    }
    let mut wanted = BTreeSet::new();
    for key in keys {
        let values = values(plan, key)?;
        if values.len() != plan.key.len() {
            return Err(wrong(format!("`{key}` is not a key of `{}`", plan.source), form(plan, "--key", "")));
        }
        wanted.insert(canonical(source, plan, &values, key, &form(plan, "--key", "")).await?);
    }
    let mut bounds = Vec::new();
    for range in ranges {
        let Some((from, to)) = range.split_once("..") else {
            return Err(wrong(format!("`{range}` is not a range"), form(plan, "--range", "..")));
        };
        let mut ends = [Vec::new(), Vec::new()];
        for (end, text) in ends.iter_mut().zip([from, to]).filter(|(_, text)| !text.is_empty()) {
            let values = values(plan, text)?;
            if values.len() > plan.key.len() {
                return Err(wrong(format!("`{range}` is not a range of keys of `{}`", plan.source), form(plan, "--range", "..")));
            }
            *end = canonical(source, plan, &values, range, &form(plan, "--range", "..")).await?;
        }
        if let Some(sql) = plan.ends_before_it_begins(&ends[0], &ends[1]) {
            let row = source.query_one(&sql, &[]).await.map_err(|source| PipelineError::Query { side: "source", source })?;
            if row.get(0) {
                return Err(wrong(format!("`{range}` ends before it begins"), form(plan, "--range", "..")));
            }
        }
        bounds.push(ends);
    }
    for [from, to] in bounds {
        wanted.extend(between(source, "source", &plan.source_keys_between(&from, &to)).await?);
        if let Some(sql) = plan.target_keys_between(&from, &to) {
            wanted.extend(between(target, "target", &sql).await?);
        }
    }
    add(target, connector, plan, &wanted.into_iter().collect::<Vec<_>>()).await
}

/// The values of a key as a person writes it: with commas between, double quotes where a comma or a quote is in one.
fn values(plan: &TablePlan, text: &str) -> Result<Vec<String>, ResyncError> {
    let unclosed = || wrong(format!("a quote of `{text}` is not closed"), form(plan, "--key", ""));
    if let [_] = plan.key[..] {
        return Ok(vec![text.to_owned()]);
    }
    let (mut all, mut rest) = (Vec::new(), text);
    loop {
        let mut value = String::new();
        if let Some(mut quoted) = rest.strip_prefix('"') {
            loop {
                let at = quoted.find('"').ok_or_else(unclosed)?;
                value.push_str(&quoted[..at]);
                quoted = &quoted[at + 1..];
                match quoted.strip_prefix('"') {
                    Some(behind) => {
                        value.push('"');
                        quoted = behind;
                    }
                    None => break,
                }
            }
            rest = quoted;
        } else {
            let at = rest.find(',').unwrap_or(rest.len());
            value.push_str(&rest[..at]);
            rest = &rest[at..];
        }
        all.push(value);
        match rest.strip_prefix(',') {
            Some(behind) => rest = behind,
            None if rest.is_empty() => return Ok(all),
            None => return Err(wrong(format!("`{text}` cannot be read behind a quote"), form(plan, "--key", ""))),
        }
    }
}

/// How it is written: `--key ID,AT` with the columns' types.
fn form(plan: &TablePlan, option: &str, between: &str) -> String {
    let of = |part: fn(&crate::mapping::Input) -> String| {
        plan.key.iter().map(|&input| part(&plan.inputs[input])).collect::<Vec<_>>().join(",")
    };
    let names = of(|input| input.name.to_uppercase());
    let types = of(|input| input.sql_type.clone());
    let value = if between.is_empty() { names.clone() } else { format!("{names}{between}{names}") };
    format!("{option} {value}, where {names} is of type {types}")
}

/// The values as the source's types write them.
async fn canonical(
    source: &Client,
    plan: &TablePlan,
    values: &[String],
    text: &str,
    form: &str,
) -> Result<Vec<String>, ResyncError> {
    let casts = values.iter().zip(&plan.key);
    let casts: Vec<String> = casts
        .map(|(value, &input)| format!("pg_catalog.format('%s', {}::{})", quote::literal(value), plan.inputs[input].sql_type))
        .collect();
    let sql = format!("SELECT ARRAY[{}]", casts.join(", "));
    match source.query_one(&sql, &[]).await {
        Ok(row) => Ok(row.get(0)),
        Err(error) if error.code().is_some_and(|code| code.code().starts_with("22")) => {
            Err(wrong(format!("`{text}` does not read as the key of `{}`", plan.source), form))
        }
        Err(source) => Err(PipelineError::Query { side: "source", source }.into()),
    }
}

async fn between(asked: &Client, side: &'static str, sql: &str) -> Result<Vec<Vec<String>>, ResyncError> {
    let rows = asked.query(sql, &[]).await.map_err(|source| PipelineError::Query { side, source })?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

async fn add(target: &Client, connector: &Connector, plan: &TablePlan, keys: &[Vec<String>]) -> Result<u64, ResyncError> {
    for page in keys.chunks(PAGE) {
        let page: Vec<&Vec<String>> = page.iter().collect();
        reread::add(target, &connector.name, &plan.target, &page).await.map_err(PipelineError::from)?;
    }
    Ok(keys.len() as u64)
}

/// `copy pause`, `copy resume`, `copy cancel`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyOrder {
    Pause,
    Resume,
    /// Ends the repeated copies of whole tables: what was read of them stays.
    Cancel,
}

/// Tells the daemon what to do with its copies. Gives the tables whose repeated copy was cancelled.
///
/// # Errors
/// See [`ResyncError`].
pub async fn order(connector: &Connector, order: CopyOrder) -> Result<Vec<TableName>, ResyncError> {
    let tasks = Tasks::default();
    let name = connector.object_name();
    let target = session::open(&tasks, &connector.target.endpoint, &name).await.map_err(PipelineError::Target)?;
    recorded(&target, connector).await?;
    let done = match order {
        CopyOrder::Pause => copy_range::pause(&target, &connector.name, true).await.map(|()| Vec::new()),
        CopyOrder::Resume => copy_range::pause(&target, &connector.name, false).await.map(|()| Vec::new()),
        CopyOrder::Cancel => copy_range::cancel(&target, &connector.name).await,
    };
    Ok(done.map_err(PipelineError::from)?)
}
