//! What the target says about one rule's expressions: the facts that `mapping::compile` asks for.

use super::{CatalogError, Scratch, SqlError};
use crate::mapping::{ExpressionFacts, Facts, Rule, SourceShape};
use tokio_postgres::GenericClient;

/// An expression of a rule that the target cannot prepare.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The target column that it is for; `None`: the rule's `where`.
    pub column: Option<String>,
    pub error: SqlError,
}

/// The facts of a rule, and what the target refuses. A refused expression counts as one that uses every column: so it alone
/// is complained about, not also what it would have used.
///
/// # Errors
/// We could not ask.
pub async fn rule_facts<C: GenericClient>(
    client: &mut C,
    rule: &Rule,
    source: &SourceShape,
) -> Result<(Facts, Vec<Refused>), CatalogError> {
    let scratch = Scratch::open(client, &inputs(source)).await?;
    let mut refused = Vec::new();
    let mut columns = Vec::with_capacity(rule.columns.len());
    for (column, expression) in &rule.columns {
        columns.push(match scratch.facts(expression).await? {
            Ok(facts) => facts,
            Err(error) => {
                refused.push(Refused { column: Some(column.clone()), error });
                anything(source)
            }
        });
    }
    let filter = match &rule.filter {
        None => None,
        Some(expression) => Some(scratch.condition(expression).await?.unwrap_or_else(|error| {
            refused.push(Refused { column: None, error });
            anything(source)
        })),
    };
    let input_types = scratch.declared().iter().map(|declared| declared.type_name.clone()).collect();
    scratch.close().await?;
    Ok((Facts { columns, filter, input_types }, refused))
}

/// The source's columns as an expression on the target sees them.
pub fn inputs(source: &SourceShape) -> Vec<(&str, &str)> {
    source.columns.iter().map(|column| (column.name.as_str(), column.type_base.as_str())).collect()
}

fn anything(source: &SourceShape) -> ExpressionFacts {
    let carried = (0..source.columns.len()).filter(|&at| source.columns[at].generated.is_none());
    ExpressionFacts { type_oid: 0, type_name: String::new(), uses: carried.collect() }
}
