//! Checks before start: return findings, change nothing.

mod rules;

use crate::config::Connector;
use crate::finding::Finding;
pub use rules::{Compiled, compile_all, expand};
pub async fn check(_c: &Connector, _r: &std::collections::BTreeSet<crate::change::TableName>) -> Vec<Finding> {
    Vec::new()
}
