//! One by one, in source order: what the set path could not do. The source went through exactly these states.

use super::reduce::{missing, same_key};
use super::{Applied, Base, Halt, Item, Reread};
use crate::change::{Cell, Op, Row};
use crate::fate::Fate;
use crate::mapping::{Binding, Kind, Partial, Statement, TablePlan};
use crate::target::{Rows, Session, SourceKey, TargetError};

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

/// Applies changes of any plans in their order. Tables that fail are halted and passed over from there on; what lacks what it builds on
/// is passed over, and its row is to be read again.
///
/// `shared`: other writers bring other rows meanwhile. `evicts`: a row may be removed until it is read again; nothing else goes with it.
pub(super) async fn one_by_one(
    session: &mut Session,
    plans: &[TablePlan],
    items: &[&Item],
    (shared, evicts): (bool, bool),
) -> Result<Applied, ApplyError> {
    let Applied { mut halts, mut rereads } = Applied::default();
    let fires = !evicts;
    let mut at = 0;
    while at < items.len() {
        let end = (at + RUN).min(items.len());
        session.frame("SAVEPOINT tablelift_run").await?;
        let done = run(session, plans, &items[at..end], (&halts, &rereads), fires).await?;
        let Some((nth, halt)) = done.failed else {
            session.frame("RELEASE SAVEPOINT tablelift_run").await?;
            rereads.extend(done.rereads);
            at = end;
            continue;
        };
        session.frame("ROLLBACK TO SAVEPOINT tablelift_run").await?;
        let before = if broken!(LadderNoReplay) { &[] } else { &items[at..at + nth] };
        let again = run(session, plans, before, (&halts, &rereads), fires).await?;
        if again.failed.is_some() {
            return Err(ApplyError::Moved);
        }
        rereads.extend(again.rereads);
        session.frame("RELEASE SAVEPOINT tablelift_run").await?;
        let item = items[at + nth];
        // a row in its way, or a parent that is missing, may be of another moment: then all of them are on their way
        let passes = halt.may_pass && (shared || item.base > Base::Exact);
        match keys(item, &plans[item.plan]).filter(|_| passes) {
            Some(keys) => {
                if evicts && item.change.op == Op::Read {
                    evict(session, &plans[item.plan], item).await?;
                }
                let refused = Some(halt.because);
                rereads.extend(keys.into_iter().map(|key| Reread { plan: item.plan, key, refused: refused.clone() }));
            }
            None => halts.push(blamed(session, item, plans, (halt, done.about_a_value)).await?),
        }
        at += nth + 1;
    }
    Ok(Applied { halts, rereads })
}

#[derive(Default)]
struct Run {
    /// The number of the change that was refused, and the halt that follows.
    failed: Option<(usize, Halt)>,
    /// It may be an expression that the target does not evaluate.
    about_a_value: bool,
    rereads: Vec<Reread>,
}

/// Runs changes until one is refused.
async fn run(
    session: &mut Session,
    plans: &[TablePlan],
    items: &[&Item],
    (halts, rereads): (&[Halt], &[Reread]),
    fires: bool,
) -> Result<Run, TargetError> {
    let mut run = Run::default();
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
            Ok(binding) => match one(session, item, plan, (binding, &[rereads, &run.rereads]), fires).await {
                Ok(_) if broken!(MissIgnored) => continue,
                Ok(missing) => {
                    run.rereads.extend(missing.into_iter().map(|key| Reread { plan: item.plan, key, refused: None }));
                    continue;
                }
                Err(error) if error.fate() == Fate::Retry => return Err(error),
                Err(error) => {
                    run.about_a_value = error.is_about_a_value();
                    Halt::refused(item.plan, plan, position, &error)
                }
            },
        };
        run.failed = Some((nth, halt));
        return Ok(run);
    }
    Ok(run)
}

/// Says which column it is about, where that can be told.
async fn blamed(
    session: &mut Session,
    item: &Item,
    plans: &[TablePlan],
    (mut halt, about_a_value): (Halt, bool),
) -> Result<Halt, TargetError> {
    let plan = &plans[item.plan];
    let (Ok(binding), Some(row), true) = (&item.binding, &item.change.after, about_a_value) else { return Ok(halt) };
    let gone = missing(plan, binding, row);
    for output in plan.blamable(&gone) {
        session.frame("SAVEPOINT tablelift_probe").await?;
        let done = Sender { session, number: item.plan, plan, binding }.part(&Statement::Probe(output), row).await;
        session.frame("ROLLBACK TO SAVEPOINT tablelift_probe").await?;
        match done {
            Ok(_) => {}
            Err(error) if error.fate() == Fate::Retry => return Err(error),
            Err(_) => {
                halt.because += &plan.blamed(output);
                break;
            }
        }
    }
    Ok(halt)
}

/// Two rows that are read again may stand in each other's way with what they were. One that was refused makes room until it comes again.
async fn evict(session: &mut Session, plan: &TablePlan, item: &Item) -> Result<(), TargetError> {
    let (Ok(binding), Some(row)) = (&item.binding, &item.change.after) else { return Ok(()) };
    Sender { session, number: item.plan, plan, binding }.part(&Statement::Delete, row).await?;
    Ok(())
}

/// Gives the key of what is to be read again instead. `fires`: the target's own actions do.
async fn one(
    session: &mut Session,
    item: &Item,
    plan: &TablePlan,
    (binding, rereads): (&Binding, &[&[Reread]]),
    fires: bool,
) -> Result<Option<SourceKey>, TargetError> {
    let fires = fires && plan.filter.is_none();
    let (old, new) = (item.change.before.row(), item.change.after.as_ref());
    let base = || TargetError::MissingBase { table: plan.target.clone() };
    let mut send = Sender { session, number: item.plan, plan, binding };
    match (plan.kind, item.change.op) {
        (_, Op::Truncate) => Ok(None),
        (Kind::Keyed, Op::Read | Op::Insert) => {
            let new = new.ok_or_else(base)?;
            // a key change under a filter of the publication comes as an insert, and may lack what did not change
            if missing(plan, binding, new).is_empty() { send.whole(&Statement::Upsert, new).await } else { send.key(new) }
        }
        (_, Op::Read | Op::Insert) => send.whole(&Statement::Insert, new.ok_or_else(base)?).await,
        (Kind::Keyed, Op::Delete) => send.part(&Statement::Delete, old.ok_or_else(base)?).await,
        (Kind::Keyed, Op::Update) => {
            let new = new.ok_or_else(base)?;
            let gone = missing(plan, binding, new);
            match old.filter(|old| same_key(plan, binding, old, new) == Some(false)) {
                Some(old) if gone.is_empty() && fires => match send.relocate(Statement::Rekey(gone), old, new).await? {
                    Some(_) => send.whole(&Statement::Upsert, new).await,
                    None => Ok(None),
                },
                Some(old) if gone.is_empty() => {
                    send.part(&Statement::Delete, old).await?;
                    send.whole(&Statement::Upsert, new).await
                }
                // the target's row may be of another moment, and would be carried over with what it has
                Some(old) if item.base > Base::Beside || asked(rereads, item, plan, binding, old) || !supplied(plan, &gone) => {
                    send.part(&Statement::Delete, old).await?;
                    send.key(new)
                }
                Some(old) if fires => send.relocate(Statement::Rekey(gone), old, new).await,
                Some(old) => send.relocate(Statement::Move(gone), old, new).await,
                None if gone.is_empty() => send.whole(&Statement::Upsert, new).await,
                None if item.base == Base::Doubtful || plan.sql(&Statement::Update(gone.clone())).is_err() => send.key(new),
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

/// Whether a row was passed over in this very batch.
fn asked(rereads: &[&[Reread]], item: &Item, plan: &TablePlan, binding: &Binding, row: &Row) -> bool {
    let mut all = rereads.iter().copied().flatten().filter(|reread| reread.plan == item.plan).peekable();
    all.peek().is_some() && key(plan, binding, row).is_none_or(|key| all.any(|reread| reread.key == key))
}

/// Whether a row that moves finds in the target what the stream leaves out.
fn supplied(plan: &TablePlan, gone: &Partial) -> bool {
    plan.sql(&Statement::Move(gone.clone())).is_ok()
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
    async fn whole(&mut self, statement: &Statement, row: &Row) -> Result<Option<SourceKey>, TargetError> {
        if let Some(&input) = missing(self.plan, self.binding, row).first() {
            let source = crate::mapping::NotSupplied { column: self.plan.inputs[input].name.clone() };
            return Err(TargetError::NotSupplied { table: self.plan.target.clone(), source });
        }
        self.part(statement, row).await
    }

    /// A statement over the inputs that it carries.
    async fn part(&mut self, statement: &Statement, row: &Row) -> Result<Option<SourceKey>, TargetError> {
        let carried = self.plan.carried(statement);
        let mut cells = Vec::new();
        self.binding.cells(row, &mut cells);
        let mut rows = Rows::new(carried.len());
        rows.push(carried.iter().map(|&input| cells[input]));
        Ok(self.session.run(self.number, self.plan, statement, &rows).await?.pop())
    }

    async fn relocate(&mut self, statement: Statement, old: &Row, new: &Row) -> Result<Option<SourceKey>, TargetError> {
        let carried = self.plan.carried(&statement);
        let (mut before, mut after): (Vec<Cell<'_>>, Vec<Cell<'_>>) = (Vec::new(), Vec::new());
        self.binding.cells(old, &mut before);
        self.binding.cells(new, &mut after);
        let mut rows = Rows::new(carried.len() + self.plan.key.len());
        rows.push(carried.iter().map(|&input| after[input]).chain(self.plan.key.iter().map(|&input| before[input])));
        Ok(self.session.run(self.number, self.plan, &statement, &rows).await?.pop())
    }

    /// The row's key, to be read again. One that is no UTF-8 cannot be asked for.
    fn key(&self, row: &Row) -> Result<Option<SourceKey>, TargetError> {
        let lacking = || TargetError::MissingBase { table: self.plan.target.clone() };
        key(self.plan, self.binding, row).map(Some).ok_or_else(lacking)
    }
}

/// The text of a row's key; `None`: it cannot be told.
pub fn key(plan: &TablePlan, binding: &Binding, row: &Row) -> Option<SourceKey> {
    let text = |&input: &usize| match binding.cell(row, input) {
        Some(Cell::Text(text)) => std::str::from_utf8(text).ok().map(str::to_owned),
        _ => None,
    };
    plan.key.iter().map(text).collect()
}

/// The keys that a change touches; `None`: they cannot be told.
fn keys(item: &Item, plan: &TablePlan) -> Option<Vec<SourceKey>> {
    let binding = item.binding.as_ref().ok()?;
    if plan.kind != Kind::Keyed {
        return None;
    }
    let old = item
        .change
        .before
        .row()
        .filter(|old| item.change.after.as_ref().is_none_or(|new| same_key(plan, binding, old, new) == Some(false)));
    let rows = old.into_iter().chain(item.change.after.as_ref());
    rows.map(|row| key(plan, binding, row)).collect()
}
