//! Why a table stands still, in words, and what to do.

use crate::change::Position;
use crate::mapping::{Misfit, TablePlan};
use crate::pg::quote;
use crate::target::TargetError;

/// A table stops at a change; the others go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Halt {
    /// The plan's number.
    pub plan: usize,
    /// The first change that the target lacks.
    pub position: Position,
    pub because: String,
    pub hint: String,
    /// A row stands in the way, or a parent is missing: across partitions that may pass by itself.
    pub may_pass: bool,
}

impl Halt {
    /// A change that the target refuses.
    pub fn refused(number: usize, plan: &TablePlan, position: Position, error: &TargetError) -> Self {
        let hint = match error {
            TargetError::NotSupplied { .. } => format!(
                "let the source send old rows whole: ALTER TABLE {} REPLICA IDENTITY FULL; then copy this table anew",
                quote::table(&plan.source)
            ),
            TargetError::MissingBase { .. } => {
                format!(
                    "somebody else removed it from the target, or, through Kafka, its key changed while a large value stayed as it was, which the \
                     stream then does not carry (on the source: ALTER TABLE {} REPLICA IDENTITY FULL); copy this table again \
                     (deploy/runbooks/copy-a-table-again.md)",
                    quote::table(&plan.source)
                )
            }
            _ => "cure the target table (or the source row), and it goes on by itself within 30 s; SIGHUP or a restart tries at once".to_owned(),
        };
        Self { plan: number, position, because: error.without_values(), hint, may_pass: error.may_pass() }
    }

    /// A table whose changes the target took one by one, and refuses at the end of their transaction.
    pub fn at_commit(number: usize, plan: &TablePlan, position: Position, error: &TargetError) -> Self {
        let halt = Self::refused(number, plan, position, error);
        Self { because: format!("at the end of the transaction {}", halt.because), ..halt }
    }

    /// The source table no longer fits the plan.
    pub fn misfit(number: usize, plan: &TablePlan, position: Position, misfits: &[Misfit]) -> Self {
        let because = misfits.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        let hint = plan.cure(misfits);
        Self { plan: number, position, because, hint, may_pass: false }
    }

    /// An insert-only table was updated.
    pub fn not_only_inserted(number: usize, position: Position) -> Self {
        Self {
            plan: number,
            position,
            because: "the table is `insert_only`, and the source sent an UPDATE or DELETE".to_owned(),
            hint: "remove `insert_only` after ALTER TABLE ... REPLICA IDENTITY FULL, then copy this table anew".to_owned(),
            may_pass: false,
        }
    }
}
