//! Some rows of each table, taken through its mapping: on the source a SELECT, on the target temporary tables in a transaction that is read-only
//! for all else, and rolled back.

use super::rules::Compiled;
use super::survey::{survey, told};
use super::{Survey, session};
use crate::config::Connector;
use crate::ddl;
use crate::finding::Finding;
use crate::mapping::{Output, SourceShape, TablePlan, TargetShape};
use crate::pg::{self, chain, meaning};
use serde::Serialize;
use tokio_postgres::{Client, Error, SimpleQueryMessage, SimpleQueryRow, error::DbError};

/// Whether rows' values may be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Values {
    Hidden,
    Shown,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Sample {
    pub connector: String,
    pub ok: bool,
    pub tables: Vec<SampledTable>,
    pub findings: Vec<Finding>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SampledTable {
    pub source: String,
    pub target: String,
    /// Source columns in whose order its rows are the first. Empty: in no order.
    pub order: Vec<String>,
    #[serde(rename = "where")]
    pub filter: Option<String>,
    pub rows: Vec<SampledRow>,
    /// Why there are none.
    pub refused: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SampledRow {
    pub source: Vec<SampledValue>,
    #[serde(flatten)]
    pub outcome: Outcome,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    Written { target: Vec<SampledValue> },
    LeftOut,
    Failed { failures: Vec<Failure> },
}

/// A column's value, or what may be told of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SampledValue {
    pub column: String,
    #[serde(rename = "type")]
    pub type_name: String,
    /// Of a target column: what fills it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expression: Option<String>,
    /// Of a source column: whether the mapping uses it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub used: Option<bool>,
    pub null: bool,
    /// Of its text in UTF-8.
    pub bytes: usize,
    /// `None`: it is NULL, or not to be told.
    pub value: Option<String>,
}

/// What the target has against a row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// Such as "column `total`", "`where`", "source column `kind`".
    pub place: String,
    /// `None`: it is a column of the source as it is.
    pub expression: Option<String>,
    pub message: String,
}

/// Takes the first `rows` of each table that has a plan through it.
pub async fn sample(connector: &Connector, rows: u32, values: Values) -> Sample {
    let survey = Box::pin(survey(connector)).await;
    let mut findings = survey.findings();
    let mut tables = Vec::new();
    match Box::pin(open(&survey)).await {
        Ok(None) => {}
        Ok(Some((source, target, drivers))) => {
            let work = async {
                for one in &survey.compiled {
                    tables.extend(Box::pin(table(one, &source, &target, (rows, values))).await);
                }
                drop((source, target));
            };
            session::beside(drivers, work).await;
        }
        Err(finding) => findings.push(finding),
    }
    let fits = |table: &SampledTable| {
        table.refused.is_none() && !table.rows.iter().any(|row| matches!(row.outcome, Outcome::Failed { .. }))
    };
    let ok = tables.iter().all(fits) && !findings.iter().any(Finding::is_error);
    Sample { connector: connector.name.clone(), ok, tables, findings }
}

/// A table that somebody holds in ACCESS EXCLUSIVE mode is no reason to wait.
const PATIENCE: &str = "SET lock_timeout = '5s'";

async fn open(survey: &Survey<'_>) -> Result<Option<(Client, Client, Vec<pg::Driver>)>, Finding> {
    if survey.compiled.iter().all(|one| one.plan.is_err()) {
        return Ok(None);
    }
    let (connector, name) = (survey.connector, survey.connector.object_name());
    let source = pg::connect(&connector.source.endpoint, &name).await;
    let source = source.map_err(|error| told("source.unreachable", "source", &error))?;
    let target = pg::connect(&connector.target.endpoint, &name).await;
    let target = target.map_err(|error| told("target.unreachable", "target", &error))?;
    Ok(Some((source.client, target.client, vec![source.driver, target.driver])))
}

/// `None`: it has no plan, and findings that say so.
async fn table(one: &Compiled, source: &Client, target: &Client, (rows, values): (u32, Values)) -> Option<SampledTable> {
    let (Ok(plan), Some(from), Some(to)) = (&one.plan, &one.source, &one.target) else { return None };
    let mut sampled = SampledTable {
        source: plan.source.to_string(),
        target: plan.into.to_string(),
        order: plan.sample_order().into_iter().map(str::to_owned).collect(),
        filter: plan.filter.as_ref().map(|filter| filter.sql.clone()),
        rows: Vec::new(),
        refused: None,
    };
    let teller = Teller { plan, from, values };
    let made = one.design.as_ref().map(|design| design.create()).unwrap_or_default();
    let done = match read(source, &plan.sample_source(from, rows)).await {
        Ok(found) => evaluate(&teller, target, (to, &made), &found, &mut sampled.rows).await,
        Err(error) => Err(error),
    };
    // whatever it was, it is over
    target.batch_execute("ROLLBACK").await.ok();
    sampled.refused = done.err().map(|error| teller.message(&error));
    Some(sampled)
}

async fn read(source: &Client, sql: &str) -> Result<Vec<SimpleQueryRow>, Error> {
    source.batch_execute(PATIENCE).await?;
    rows_of(source, sql).await
}

async fn rows_of(client: &Client, sql: &str) -> Result<Vec<SimpleQueryRow>, Error> {
    let messages = client.simple_query(sql).await?;
    let row = |message| if let SimpleQueryMessage::Row(row) = message { Some(row) } else { None };
    Ok(messages.into_iter().filter_map(row).collect())
}

/// Each row by itself: what one is refused for says nothing about the next.
async fn evaluate(
    teller: &Teller<'_>,
    target: &Client,
    (to, made): (&TargetShape, &[String]),
    rows: &[SimpleQueryRow],
    sampled: &mut Vec<SampledRow>,
) -> Result<(), Error> {
    let plan = teller.plan;
    target.batch_execute(&format!("BEGIN; {PATIENCE}")).await?;
    // a table that is still to be made may need types that are, too
    if !made.is_empty() {
        target.batch_execute(ddl::ALONE).await?;
    }
    for sql in made {
        target.batch_execute(sql).await?;
    }
    let tables = plan.sample_tables(to);
    target.batch_execute(&format!("{tables}; SET TRANSACTION READ ONLY; SAVEPOINT tablelift_sample")).await?;
    for row in rows {
        let mut cells = Vec::with_capacity(row.len());
        for at in 0..row.len() {
            cells.push(row.try_get(at)?);
        }
        let inputs: Vec<Option<&str>> = plan.inputs.iter().map(|input| cells[input.column]).collect();
        let outcome = match write(plan, target, &inputs).await {
            Ok(Some(written)) => Outcome::Written { target: teller.written(&written)? },
            Ok(None) => Outcome::LeftOut,
            Err(error) if error.as_db_error().is_none() => return Err(error),
            Err(error) => Outcome::Failed { failures: blamed(teller, target, &inputs, &error).await? },
        };
        sampled.push(SampledRow { source: teller.source(&cells), outcome });
        target.batch_execute(BACK).await?;
    }
    Ok(())
}

const BACK: &str = "ROLLBACK TO SAVEPOINT tablelift_sample";

/// `None`: `where` leaves it out.
async fn write(plan: &TablePlan, target: &Client, inputs: &[Option<&str>]) -> Result<Option<SimpleQueryRow>, Error> {
    target.batch_execute(&plan.sample_bring(inputs)).await?;
    target.batch_execute(&plan.sample_write()).await?;
    Ok(rows_of(target, &plan.sample_written()).await?.pop())
}

/// All that a row is refused for: first what cannot be read, else `where`, else each column by itself, else what the row as a whole lacks.
async fn blamed(teller: &Teller<'_>, target: &Client, inputs: &[Option<&str>], whole: &Error) -> Result<Vec<Failure>, Error> {
    let plan = teller.plan;
    let mut failures = Vec::new();
    target.batch_execute(BACK).await?;
    for (at, value) in inputs.iter().enumerate() {
        let Some(value) = value else { continue };
        if let Err(error) = tried(target, &[plan.sample_bring_one(at, value)]).await? {
            let input = &plan.inputs[at];
            failures.push(Failure {
                place: format!("source column `{}`, read as {}", input.name, input.sql_type),
                expression: None,
                message: teller.message(&error),
            });
        }
    }
    if !failures.is_empty() {
        return Ok(failures);
    }
    let bring = plan.sample_bring(inputs);
    if let Some((filter, sql)) = plan.filter.as_ref().zip(plan.sample_filter())
        && let Err(error) = tried(target, &[bring.clone(), sql]).await?
    {
        let (place, expression) = ("`where`".to_owned(), Some(filter.sql.clone()));
        return Ok(vec![Failure { place, expression, message: teller.message(&error) }]);
    }
    for (at, output) in plan.outputs.iter().enumerate() {
        if let Err(error) = tried(target, &[bring.clone(), plan.sample_write_one(at)]).await? {
            failures.push(teller.failure(output, &error));
        }
    }
    if failures.is_empty() {
        let column = whole.as_db_error().and_then(DbError::column);
        let output = plan.outputs.iter().find(|output| Some(output.column.as_str()) == column);
        failures.push(output.map_or_else(
            || Failure { place: "the row".to_owned(), expression: None, message: teller.message(whole) },
            |output| teller.failure(output, whole),
        ));
    }
    Ok(failures)
}

/// Runs statements, and takes them back. What the server has against them is the inner error.
async fn tried(target: &Client, statements: &[String]) -> Result<Result<(), Error>, Error> {
    let mut done = Ok(());
    for sql in statements {
        done = target.batch_execute(sql).await;
        if done.is_err() {
            break;
        }
    }
    target.batch_execute(BACK).await?;
    Ok(done)
}

/// Says what may be said of one table's rows.
struct Teller<'a> {
    plan: &'a TablePlan,
    from: &'a SourceShape,
    values: Values,
}

impl Teller<'_> {
    fn source(&self, cells: &[Option<&str>]) -> Vec<SampledValue> {
        let used = |at: usize| self.plan.inputs.iter().any(|input| input.column == at);
        let columns = self.from.columns.iter().zip(cells).enumerate();
        columns
            .map(|(at, (column, cell))| SampledValue {
                used: Some(used(at)),
                ..self.value(&column.name, &column.type_name, *cell)
            })
            .collect()
    }

    fn written(&self, row: &SimpleQueryRow) -> Result<Vec<SampledValue>, Error> {
        let outputs = self.plan.outputs.iter().enumerate();
        outputs
            .map(|(at, output)| {
                let value = self.value(&output.column, &output.sql_type, row.try_get(at)?);
                Ok(SampledValue { expression: Some(output.expression.clone()), ..value })
            })
            .collect()
    }

    fn value(&self, column: &str, type_name: &str, cell: Option<&str>) -> SampledValue {
        SampledValue {
            column: column.to_owned(),
            type_name: type_name.to_owned(),
            expression: None,
            used: None,
            null: cell.is_none(),
            bytes: cell.map_or(0, str::len),
            value: cell.filter(|_| self.values == Values::Shown).map(str::to_owned),
        }
    }

    fn failure(&self, output: &Output, error: &Error) -> Failure {
        Failure {
            place: format!("column `{}`", output.column),
            expression: output.plain.is_none().then(|| output.expression.clone()),
            message: self.message(error),
        }
    }

    /// The server's sentence only where values may be told, or it speaks of rights: elsewhere it may quote them, for they stand in our statements.
    fn message(&self, error: &Error) -> String {
        let Some(said) = error.as_db_error() else { return chain(error) };
        let code = said.code().code();
        let of_objects = code == "42501" || code == "25006";
        let words = if code == "23502" || !(self.values == Values::Shown || of_objects) {
            meaning(code).unwrap_or("the server refuses it")
        } else {
            said.message()
        };
        format!("{words} (SQLSTATE {code})")
    }
}
