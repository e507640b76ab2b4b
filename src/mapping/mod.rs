//! One table's rule and the shapes of both tables, compiled once into an immutable `TablePlan` with its SQL texts.
//!
//! Promises: pure; the same rule and shapes always give the same plan, or all findings that stand against it.
//! Will not: connect to anything, or parse SQL beyond a bare column name and a cast. What an expression uses, and of which
//! type it is, PostgreSQL itself is asked by whoever compiles (`Facts`).

mod bind;
mod blame;
mod compile;
mod copy_sql;
mod expression;
mod facts;
#[cfg(test)]
mod golden;
mod key;
mod plan;
mod rule;
mod sample;
mod shape;
mod sql;

pub use bind::{Binding, Misfit};
pub use compile::compile;
pub use copy_sql::CopyForm;
pub use expression::{Form, form, lossless};
pub use facts::{ExpressionFacts, Facts};
pub use key::source_key;
pub use plan::{Filter, Input, KeyText, Kind, Output, TablePlan, Wire};
pub use rule::{Ignore, OnNewColumn, Rule};
pub use shape::{Action, SourceColumn, SourceShape, TargetColumn, TargetShape, UniqueKey};
pub use sql::{NotSupplied, Partial, Statement};
