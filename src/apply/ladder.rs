//! One by one, in source order: what the set path could not do. The source went through exactly these states.

use super::reduce::{missing, same_key};
use super::{Halt, Item};
use crate::change::{Cell, Op, Row};
use crate::fate::Fate;
use crate::mapping::{Binding, Kind, Statement, TablePlan};
use crate::target::{Rows, Session, TargetError};

/// The whole batch could not be applied; its transaction is to be rolled back.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    #[error(transparent)]
    Target(#[from] TargetError),
    #[error("a change that the target took is refused a moment later")]
    Moved,
}

impl ApplyError {
    pub fn fate(&self) -> Fate {
        match self {
            ApplyError::Target(error) => error.fate(),
            ApplyError::Moved => Fate::Retry,
        }
    }
}

/// Changes under one savepoint; after a failure those before the failed one are done again.
const RUN: usize = 64;

/// Applies changes of any plans in their order. Tables that fail are halted and passed over from there on.
pub(super) async fn one_by_one(session: &mut Session, plans: &[TablePlan], items: &[&Item]) -> Result<Vec<Halt>, ApplyError> {
    let mut halts: Vec<Halt> = Vec::new();
    let mut at = 0;
    while at < items.len() {
        let end = (at + RUN).min(items.len());
        session.frame("SAVEPOINT tablelift_run").await?;
        let failed = run(session, plans, &items[at..end], &halts).await?;
        let Some((nth, halt)) = failed else {
            session.frame("RELEASE SAVEPOINT tablelift_run").await?;
            at = end;
            continue;
        };
        session.frame("ROLLBACK TO SAVEPOINT tablelift_run").await?;
        if run(session, plans, &items[at..at + nth], &halts).await?.is_some() {
            return Err(ApplyError::Moved);
        }
        session.frame("RELEASE SAVEPOINT tablelift_run").await?;
        halts.push(halt);
        at += nth + 1;
    }
    Ok(halts)
}

/// Runs changes until one is refused: its number, and the halt that follows.
async fn run(
    session: &mut Session,
    plans: &[TablePlan],
    items: &[&Item],
    halts: &[Halt],
) -> Result<Option<(usize, Halt)>, TargetError> {
    for (nth, item) in items.iter().enumerate() {
        if halts.iter().any(|halt| halt.plan == item.plan) {
            continue;
        }
        let plan = &plans[item.plan];
        let position = item.change.position;
        let halt = match &item.binding {
            Err(misfits) => Halt::misfit(item.plan, plan, position, misfits),
            Ok(_) if plan.kind == Kind::InsertOnly && matches!(item.change.op, Op::Update | Op::Delete) => {
                Halt::not_only_inserted(item.plan, position)
            }
            Ok(binding) => match one(session, item, plan, binding).await {
                Ok(()) => continue,
                Err(error) if error.fate() == Fate::Retry => return Err(error),
                Err(error) => Halt::refused(item.plan, plan, position, &error),
            },
        };
        return Ok(Some((nth, halt)));
    }
    Ok(None)
}

async fn one(session: &mut Session, item: &Item, plan: &TablePlan, binding: &Binding) -> Result<(), TargetError> {
    let (old, new) = (item.change.before.row(), item.change.after.as_ref());
    let base = || TargetError::MissingBase { table: plan.target.clone() };
    let mut send = Sender { session, number: item.plan, plan, binding };
    match (plan.kind, item.change.op) {
        (_, Op::Truncate) => Ok(()),
        (Kind::Keyed, Op::Read | Op::Insert) => send.whole(&Statement::Upsert, new.ok_or_else(base)?).await,
        (_, Op::Read | Op::Insert) => send.whole(&Statement::Insert, new.ok_or_else(base)?).await,
        (Kind::Keyed, Op::Delete) => send.part(&Statement::Delete, old.ok_or_else(base)?).await,
        (Kind::Keyed, Op::Update) => {
            let new = new.ok_or_else(base)?;
            let gone = missing(plan, binding, new);
            match old.filter(|old| same_key(plan, binding, old, new) == Some(false)) {
                Some(old) if gone.is_empty() => {
                    send.part(&Statement::Delete, old).await?;
                    send.whole(&Statement::Upsert, new).await
                }
                Some(old) => send.relocate(gone, old, new).await,
                None if gone.is_empty() => send.whole(&Statement::Upsert, new).await,
                None => send.part(&Statement::Update(gone), new).await,
            }
        }
        (_, Op::Delete) => send.whole(&Statement::DeleteOne, old.ok_or_else(base)?).await,
        (_, Op::Update) => {
            send.whole(&Statement::DeleteOne, old.ok_or_else(base)?).await?;
            send.whole(&Statement::Insert, new.ok_or_else(base)?).await
        }
    }
}

/// One row's statements.
struct Sender<'a> {
    session: &'a mut Session,
    number: usize,
    plan: &'a TablePlan,
    binding: &'a Binding,
}

impl Sender<'_> {
    /// A statement that needs every input of the row.
    async fn whole(&mut self, statement: &Statement, row: &Row) -> Result<(), TargetError> {
        if let Some(&input) = missing(self.plan, self.binding, row).first() {
            let source = crate::mapping::NotSupplied { column: self.plan.inputs[input].name.clone() };
            return Err(TargetError::NotSupplied { table: self.plan.target.clone(), source });
        }
        self.part(statement, row).await
    }

    /// A statement over the inputs that it carries.
    async fn part(&mut self, statement: &Statement, row: &Row) -> Result<(), TargetError> {
        let carried = self.plan.carried(statement);
        let mut cells = Vec::new();
        self.binding.cells(row, &mut cells);
        let mut rows = Rows::new(carried.len());
        rows.push(carried.iter().map(|&input| cells[input]));
        self.session.run(self.number, self.plan, statement, &rows).await
    }

    async fn relocate(&mut self, gone: Vec<usize>, old: &Row, new: &Row) -> Result<(), TargetError> {
        let statement = Statement::Move(gone);
        let carried = self.plan.carried(&statement);
        let (mut before, mut after): (Vec<Cell<'_>>, Vec<Cell<'_>>) = (Vec::new(), Vec::new());
        self.binding.cells(old, &mut before);
        self.binding.cells(new, &mut after);
        let mut rows = Rows::new(carried.len() + self.plan.key.len());
        rows.push(carried.iter().map(|&input| after[input]).chain(self.plan.key.iter().map(|&input| before[input])));
        self.session.run(self.number, self.plan, &statement, &rows).await
    }
}
