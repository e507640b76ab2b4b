//! Checks before start: return findings, change nothing.

mod rules;

pub use rules::{Compiled, compile_all, expand};
