//! PostgreSQL itself is asked what an expression is: of which type, over which columns, or what is wrong with it. All of it
//! happens in a transaction that is rolled back, on a temporary table that has the source's columns.

use super::{CatalogError, SqlError, type_name};
use crate::change::TableName;
use crate::mapping::ExpressionFacts;
use crate::pg::quote;
use futures_util::future::join4;
use tokio_postgres::{Error, GenericClient, Row, Transaction, types::Type};

/// How an input was declared on this server: as text where the server lacks the source's type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declared {
    pub type_name: String,
    /// Differs from the source's for types that are not built in.
    pub type_oid: u32,
    /// The server has no type of the name that the source uses.
    pub as_text: bool,
}

/// What the server said about a set of expressions over the same inputs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answers {
    /// One per input.
    pub declared: Vec<Declared>,
    /// One per expression. `uses` counts the inputs; it is all of them where the expression reads the whole row (`src`).
    pub facts: Vec<Result<ExpressionFacts, SqlError>>,
}

/// Asks `client`'s server about `expressions` over the columns `inputs` (name, SQL type), which also are the row `src`.
///
/// # Errors
/// We could not ask. What the server has against an expression is in its answer.
pub async fn expression_facts<C: GenericClient>(
    client: &mut C,
    inputs: &[(&str, &str)],
    expressions: &[&str],
) -> Result<Answers, CatalogError> {
    let scratch = Scratch::open(client, inputs).await?;
    let mut facts = Vec::with_capacity(expressions.len());
    for expression in expressions {
        facts.push(scratch.facts(expression).await?);
    }
    let declared = scratch.declared.clone();
    scratch.close().await?;
    Ok(Answers { declared, facts })
}

const OPEN: &str = "SAVEPOINT tablelift_try";
const UNDO: &str = "ROLLBACK TO SAVEPOINT tablelift_try; RELEASE SAVEPOINT tablelift_try";
const FROM: &str = "FROM pg_temp.tablelift_src AS src";

/// Built-in functions leave no trace in `pg_depend`, so it is the parsed query that tells. `CURRENT_TIMESTAMP` and its like are nodes of
/// their own there, numbered 0 to 8. Other stable functions depend on settings, which are the same in each of our sessions.
const UNSTEADY: &str = "
    SELECT p.proname::text
      FROM pg_rewrite r
     CROSS JOIN regexp_matches(r.ev_action::text, ':(?:funcid|opfuncid) ([0-9]+)', 'g') AS used(ids)
      JOIN pg_proc p ON p.oid = used.ids[1]::oid
     WHERE r.ev_class = to_regclass('pg_temp.tablelift_expression')
       AND (p.provolatile = 'v' OR p.pronamespace = 'pg_catalog'::regnamespace
            AND p.proname IN ('now', 'transaction_timestamp', 'statement_timestamp', 'txid_current', 'pg_current_xact_id'))
     UNION
    SELECT 'the current time'
      FROM pg_rewrite r
     WHERE r.ev_class = to_regclass('pg_temp.tablelift_expression') AND r.ev_action::text ~ '{SQLVALUEFUNCTION :op [0-8] '
     ORDER BY 1";

/// A transaction to try things in. Rolled back when dropped.
pub struct Scratch<'a> {
    transaction: Transaction<'a>,
    declared: Vec<Declared>,
    facts_sql: String,
}

impl<'a> Scratch<'a> {
    /// Begins the transaction (a savepoint, inside another) and makes the temporary table.
    ///
    /// # Errors
    /// The role may not make temporary tables (SQLSTATE 42501), the server is a standby (25006), or it is away.
    pub async fn open<C: GenericClient>(client: &'a mut C, inputs: &[(&str, &str)]) -> Result<Self, CatalogError> {
        let transaction = client.transaction().await?;
        let declared = declare(&transaction, inputs).await?;
        let columns: Vec<String> =
            inputs.iter().zip(&declared).map(|((name, _), as_)| format!("{} {}", quote::ident(name), as_.type_name)).collect();
        transaction.batch_execute(&format!("CREATE TEMPORARY TABLE tablelift_src ({})", columns.join(", "))).await?;
        Ok(Self { transaction, declared, facts_sql: facts_sql() })
    }

    /// How each input was declared.
    pub fn declared(&self) -> &[Declared] {
        &self.declared
    }

    /// What `expression` is.
    ///
    /// # Errors
    /// We could not ask.
    pub async fn facts(&self, expression: &str) -> Result<Result<ExpressionFacts, SqlError>, CatalogError> {
        self.ask(expression, "IS NULL").await
    }

    /// What `expression` is, which has to be a condition.
    ///
    /// # Errors
    /// We could not ask.
    pub async fn condition(&self, expression: &str) -> Result<Result<ExpressionFacts, SqlError>, CatalogError> {
        self.ask(expression, "IS TRUE").await
    }

    /// The functions in `expression` whose result is another each time, whatever the row: volatile ones, and the clock. Nothing where
    /// the expression is wrong.
    ///
    /// # Errors
    /// We could not ask.
    pub async fn unsteady(&self, expression: &str) -> Result<Vec<String>, CatalogError> {
        let Ok(rows) = self.view(expression, "IS NULL", UNSTEADY).await? else { return Ok(Vec::new()) };
        Ok(rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?)
    }

    async fn ask(&self, expression: &str, test: &str) -> Result<Result<ExpressionFacts, SqlError>, CatalogError> {
        match self.view(expression, test, &self.facts_sql).await? {
            Ok(columns) => self.read_facts(&columns),
            Err(refused) => Ok(Err(refused)),
        }
    }

    /// What `question` gives on a view that has the expression.
    async fn view(&self, expression: &str, test: &str, question: &str) -> Result<Result<Vec<Row>, SqlError>, CatalogError> {
        let before = "CREATE TEMPORARY VIEW tablelift_expression AS SELECT (\n";
        // The second place is there to be refused: aggregates, window functions and sets of rows are no business of one row.
        let sql = format!("{before}{expression}\n) AS c {FROM} WHERE (\n{expression}\n) {test}");
        let client = &self.transaction;
        // Sent at once: where the view fails, the question after it does too, and the rollback ends both.
        let (open, made, found, undone) = join4(
            client.batch_execute(OPEN),
            client.execute_typed(&sql, &[]),
            client.query_typed(question, &[]),
            client.batch_execute(UNDO),
        )
        .await;
        open?;
        undone?;
        if let Err(refused) = verdict(made, before, expression)? {
            return Ok(Err(refused));
        }
        Ok(Ok(found?))
    }

    fn read_facts(&self, columns: &[Row]) -> Result<Result<ExpressionFacts, SqlError>, CatalogError> {
        let [row] = columns else {
            return Ok(Err(SqlError::new("42601", "not one expression but several")));
        };
        let numbers: Vec<i32> = row.try_get(2)?;
        if numbers.iter().any(|&number| number < 0) {
            return Ok(Err(SqlError::new("42703", "system columns do not travel with the row")));
        }
        let whole_row: bool = row.try_get(3)?;
        let mut uses: Vec<usize> = numbers.iter().filter_map(|&number| usize::try_from(number - 1).ok()).collect();
        if whole_row {
            uses = (0..self.declared.len()).collect();
        }
        uses.sort_unstable();
        Ok(Ok(ExpressionFacts { type_oid: row.try_get(0)?, type_name: row.try_get(1)?, uses }))
    }

    /// Whether a column of input `at`'s type can be generated from the others by `clause`.
    ///
    /// # Errors
    /// We could not ask.
    pub(super) async fn generates(&self, at: usize, clause: &str) -> Result<Result<(), SqlError>, CatalogError> {
        let Some(declared) = self.declared.get(at) else { return Ok(Ok(())) };
        // no column of a user's has such a name
        let sql = format!("ALTER TABLE pg_temp.tablelift_src ADD COLUMN \"tablelift:generated\" {} {clause}", declared.type_name);
        self.transaction.batch_execute(OPEN).await?;
        let done = self.transaction.execute_typed(&sql, &[]).await;
        self.transaction.batch_execute(UNDO).await?;
        verdict(done, "", &sql)
    }

    /// Whether column `column` of `target` can be given `expression`.
    ///
    /// # Errors
    /// We could not ask.
    pub async fn takes(&self, target: &TableName, column: &str, expression: &str) -> Result<Result<(), SqlError>, CatalogError> {
        let before =
            format!("INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE SELECT (\n", quote::table(target), quote::ident(column));
        self.parses(&before, expression, &format!("\n) {FROM}")).await
    }

    /// Whether the server can prepare `sql`, parameters and all.
    ///
    /// # Errors
    /// We could not ask.
    pub async fn prepares(&self, sql: &str) -> Result<Result<(), SqlError>, CatalogError> {
        self.parses("", sql, "").await
    }

    async fn parses(&self, before: &str, text: &str, after: &str) -> Result<Result<(), SqlError>, CatalogError> {
        self.transaction.batch_execute(OPEN).await?;
        let prepared = self.transaction.prepare(&format!("{before}{text}{after}")).await;
        self.transaction.batch_execute(UNDO).await?;
        verdict(prepared, before, text)
    }

    /// The transaction itself.
    pub fn transaction(&self) -> &Transaction<'a> {
        &self.transaction
    }

    /// Rolls everything back, and waits for it.
    ///
    /// # Errors
    /// The session broke.
    pub async fn close(self) -> Result<(), CatalogError> {
        Ok(self.transaction.rollback().await?)
    }
}

/// Runs one statement in a transaction that is to be rolled back, such as the DDL of a table still to be made, so that what follows finds
/// it. A refusal leaves no trace.
///
/// # Errors
/// We could not ask.
pub async fn run_in(transaction: &Transaction<'_>, sql: &str) -> Result<Result<(), SqlError>, CatalogError> {
    transaction.batch_execute(OPEN).await?;
    let done = transaction.execute_typed(sql, &[]).await;
    let end = if done.is_ok() { "RELEASE SAVEPOINT tablelift_try" } else { UNDO };
    transaction.batch_execute(end).await?;
    verdict(done, "", sql)
}

/// Tells what the server has against the SQL from not having been able to ask.
///
/// # Errors
/// We could not ask.
pub fn verdict_on<T>(result: Result<T, Error>) -> Result<Result<(), SqlError>, CatalogError> {
    verdict(result, "", "")
}

/// As [`verdict_on`], where `before` was sent in front of `text`: places count from the text's start.
fn verdict<T>(result: Result<T, Error>, before: &str, text: &str) -> Result<Result<(), SqlError>, CatalogError> {
    match result {
        Ok(_) => Ok(Ok(())),
        Err(error) => match error.as_db_error() {
            Some(refused) if !is_weather(refused.code().code()) => Ok(Err(SqlError::of(refused, before, text))),
            _ => Err(error.into()),
        },
    }
}

/// Classes that say nothing about the SQL: connection, resources, operator intervention, system error.
fn is_weather(code: &str) -> bool {
    ["08", "53", "57", "58"].iter().any(|class| code.starts_with(class))
}

async fn declare(transaction: &Transaction<'_>, inputs: &[(&str, &str)]) -> Result<Vec<Declared>, CatalogError> {
    let names: Vec<&str> = inputs.iter().map(|(_, type_name)| *type_name).collect();
    let sql = "SELECT to_regtype(name)::oid FROM unnest($1::text[]) WITH ORDINALITY AS asked(name, at) ORDER BY at";
    let rows = transaction.query_typed(sql, &[(&names, Type::TEXT_ARRAY)]).await?;
    let mut declared = Vec::with_capacity(names.len());
    for (row, name) in rows.iter().zip(names) {
        declared.push(match row.try_get::<_, Option<u32>>(0)? {
            Some(type_oid) => Declared { type_name: name.to_owned(), type_oid, as_text: false },
            None => Declared { type_name: "text".to_owned(), type_oid: Type::TEXT.oid(), as_text: true },
        });
    }
    Ok(declared)
}

/// One row per column of the view. The columns it reads are in `pg_depend`; a whole-row reference is not, and shows only in the
/// parsed query, as a variable without a column number whose type is the table's row type.
fn facts_sql() -> String {
    let type_name = type_name("t", "a.atttypmod");
    format!(
        "SELECT a.atttypid, {type_name},
                array(SELECT DISTINCT d.refobjsubid FROM pg_depend d
                       WHERE d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
                         AND d.refclassid = 'pg_class'::regclass AND d.refobjid = s.oid AND d.refobjsubid <> 0),
                r.ev_action::text LIKE '%:varattno 0 :vartype ' || s.reltype || ' %'
           FROM pg_rewrite r
           JOIN pg_attribute a ON a.attrelid = r.ev_class AND a.attnum > 0
           JOIN pg_type t ON t.oid = a.atttypid
           JOIN pg_class s ON s.oid = to_regclass('pg_temp.tablelift_src')
          WHERE r.ev_class = to_regclass('pg_temp.tablelift_expression')"
    )
}
