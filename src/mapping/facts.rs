//! What PostgreSQL itself says about a rule's expressions. Asked on the target, handed in here.

use serde::{Deserialize, Serialize};

/// One expression, as the target understands it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExpressionFacts {
    pub type_oid: u32,
    pub type_name: String,
    /// Indexes into `SourceShape::columns`.
    pub uses: Vec<usize>,
}

/// All expressions of a rule.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// In the order of `Rule::columns`.
    pub columns: Vec<ExpressionFacts>,
    pub filter: Option<ExpressionFacts>,
    /// Per source column, the type it has inside an expression on the target: its own without length or precision, or `text`
    /// where the target lacks it.
    pub input_types: Vec<String>,
}
