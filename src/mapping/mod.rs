//! One table's rule and the shapes of both tables, compiled once into an immutable `TablePlan` with its SQL texts.
//!
//! Promises: pure; the same rule and shapes always give the same plan.
//! Will not: connect to anything, or parse SQL beyond a bare column name and a cast. What an expression uses, and of which
//! type it is, PostgreSQL itself is asked by whoever compiles.

mod rule;
mod shape;

pub use rule::{Ignore, OnNewColumn, Rule};
pub use shape::{SourceColumn, SourceShape, TargetColumn, TargetShape, UniqueKey};
