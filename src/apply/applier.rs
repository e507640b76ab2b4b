//! A batch into the open target transaction: sets first, the ladder where sets fail.

use super::reduce::{Sets, reduce};
use super::{ApplyError, Halt, Item, ladder};
use crate::change::{Op, Row};
use crate::fate::Fate;
use crate::mapping::{Binding, Statement, TablePlan};
use crate::target::{Rows, Session, SourceKey, TargetError};
use std::sync::Arc;

/// From so many new rows on, COPY is cheaper than an array statement.
const COPY_FROM_ROWS: usize = 100;

/// What became of a batch.
#[derive(Debug, Default)]
pub struct Applied {
    pub halts: Vec<Halt>,
    /// Rows that are to be read again: what came of them lacks what it builds on.
    pub rereads: Vec<Reread>,
}

/// A row that is to be read again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reread {
    /// The plan's number.
    pub plan: usize,
    pub key: SourceKey,
    /// Why the target did not take what there was of it.
    pub refused: Option<String>,
}

/// Applies batches by the plans.
pub struct Applier {
    pub plans: Arc<Vec<TablePlan>>,
    /// Triggers and foreign keys of the target fire: then tables are not independent of each other within a batch.
    pub triggers_fire: bool,
    /// Several writers, each with its share of the changes: a row in the way may be another's, and on its way.
    pub shared: bool,
    /// The target has something that is deferred to COMMIT, and may refuse there: `apply` checks it before.
    pub deferred: bool,
}

impl Applier {
    /// Applies changes, in order, inside the open transaction. What is deferred to its COMMIT is the caller's to see to.
    ///
    /// # Errors
    /// The transaction is to be rolled back and begun anew; nothing was decided about any table.
    pub async fn apply_part(&self, session: &mut Session, items: &[Item]) -> Result<Applied, ApplyError> {
        let mut applied = Applied::default();
        let mut rest = items;
        while !rest.is_empty() {
            let truncates = |item: &Item| item.change.op == Op::Truncate && !broken!(TruncateIgnored);
            let cut = rest.iter().position(truncates).unwrap_or(rest.len());
            let (segment, behind) = rest.split_at(cut);
            self.segment(session, segment, &mut applied).await?;
            let truncated = behind.iter().take_while(|item| truncates(item)).count();
            self.truncate(session, &behind[..truncated], &mut applied).await?;
            rest = &behind[truncated..];
        }
        Ok(applied)
    }

    /// Changes with no TRUNCATE among them.
    async fn segment(&self, session: &mut Session, items: &[Item], applied: &mut Applied) -> Result<(), ApplyError> {
        let live: Vec<&Item> = items.iter().filter(|item| !applied.halts.iter().any(|halt| halt.plan == item.plan)).collect();
        if self.triggers_fire {
            return self.together(session, &live, applied).await;
        }
        for number in plans_in_order(&live) {
            let mine: Vec<&Item> = live.iter().copied().filter(|item| item.plan == number).collect();
            self.together(session, &mine, applied).await?;
        }
        Ok(())
    }

    /// Changes that stand or fall together: as sets under a savepoint, else rewritten, else one by one.
    async fn together(&self, session: &mut Session, items: &[&Item], applied: &mut Applied) -> Result<(), ApplyError> {
        if items.is_empty() {
            return Ok(());
        }
        let Some(sets) = self.reduced(items).filter(|_| !self.in_order()) else {
            return self.one_by_one(session, items, applied).await;
        };
        session.ahead("SAVEPOINT tablelift_sets");
        let mut rereads = Vec::new();
        let mut outcome = self.write(session, &sets, false, &mut rereads).await;
        if matches!(&outcome, Err(error) if error.is_unique_conflict()) && self.rewritable(&sets) {
            // values of a secondary key changed hands, perhaps under a deferrable constraint: all out, then all in
            session.frame("ROLLBACK TO SAVEPOINT tablelift_sets").await?;
            rereads.clear();
            outcome = self.write(session, &sets, true, &mut rereads).await;
        }
        match outcome {
            Ok(()) => applied.rereads.extend(rereads),
            Err(error) if error.fate() == Fate::Retry => return Err(error.into()),
            Err(_) => {
                session.frame("ROLLBACK TO SAVEPOINT tablelift_sets").await?;
                self.one_by_one(session, items, applied).await?;
            }
        }
        session.ahead("RELEASE SAVEPOINT tablelift_sets");
        Ok(())
    }

    async fn one_by_one(&self, session: &mut Session, items: &[&Item], applied: &mut Applied) -> Result<(), ApplyError> {
        let done = ladder::one_by_one(session, &self.plans, items, (self.shared, !self.triggers_fire)).await?;
        applied.halts.extend(done.halts);
        applied.rereads.extend(done.rereads);
        Ok(())
    }

    /// Rows of the target go, or change, by its own actions: they do what they did in the source only if each change meets what it met there.
    fn in_order(&self) -> bool {
        self.triggers_fire && self.plans.iter().any(|plan| plan.cascades)
    }

    /// Deleting a row and writing it again is invisible to others, unless the target's own actions fire or a base is needed.
    fn rewritable(&self, sets: &[(usize, Arc<Binding>, Sets)]) -> bool {
        !self.triggers_fire && sets.iter().all(|(number, _, sets)| sets.updates.is_empty() && !self.plans[*number].key.is_empty())
    }

    /// Per plan, in the order of first appearance; `None` where any of them has to go one by one.
    fn reduced(&self, items: &[&Item]) -> Option<Vec<(usize, Arc<Binding>, Sets)>> {
        let reduced = plans_in_order(items).into_iter().map(|number| {
            let mine: Vec<&Item> = items.iter().copied().filter(|item| item.plan == number).collect();
            let binding = mine.first()?.binding.as_ref().ok()?;
            let same = |item: &&Item| item.binding.as_ref().is_ok_and(|other| Arc::ptr_eq(other, binding));
            if !mine.iter().all(same) {
                return None;
            }
            Some((number, Arc::clone(binding), reduce(&self.plans[number], binding, &mine)?))
        });
        reduced.collect()
    }

    async fn write(
        &self,
        session: &mut Session,
        sets: &[(usize, Arc<Binding>, Sets)],
        rewrite: bool,
        rereads: &mut Vec<Reread>,
    ) -> Result<(), TargetError> {
        for (number, binding, sets) in sets {
            let plan = &self.plans[*number];
            let mut write = Writer { session: &mut *session, number: *number, plan, binding };
            write.rows(&Statement::Delete, &sets.deletes).await?;
            if rewrite {
                write.rows(&Statement::Delete, &sets.upserts).await?;
                write.rows(&Statement::Delete, &sets.inserts).await?;
            }
            for (missing, rows) in &sets.updates {
                let lacking = write.rows(&Statement::Update(missing.clone()), rows).await?;
                let lacking = if broken!(MissIgnored) { Vec::new() } else { lacking };
                rereads.extend(lacking.into_iter().map(|key| Reread { plan: *number, key, refused: None }));
            }
            let renewed = if rewrite { Statement::Insert } else { Statement::Upsert };
            write.rows(&renewed, &sets.upserts).await?;
            // in the middle of a COPY whose triggers take long the server would not read, and be taken for dead
            let copied = plan.straight() && !self.triggers_fire && sets.inserts.len() >= COPY_FROM_ROWS;
            let fresh = if copied { Statement::CopyIn } else { Statement::Insert };
            write.rows(&fresh, &sets.inserts).await?;
        }
        Ok(())
    }

    /// Empties the tables of neighbouring TRUNCATEs together. A real TRUNCATE where no foreign key from outside forbids it.
    async fn truncate(&self, session: &mut Session, items: &[Item], applied: &mut Applied) -> Result<(), ApplyError> {
        let live: Vec<&Item> = items.iter().filter(|item| !applied.halts.iter().any(|halt| halt.plan == item.plan)).collect();
        if live.is_empty() {
            return Ok(());
        }
        // where other entries have rows too, theirs stay
        let (mut numbers, shared): (Vec<usize>, Vec<usize>) =
            plans_in_order(&live).into_iter().partition(|&number| !self.plans[number].shares());
        let tables: Vec<String> = numbers.iter().map(|&number| self.plans[number].into_only()).collect();
        session.frame("SAVEPOINT tablelift_truncate").await?;
        let truncated = match numbers.first() {
            Some(&first) => self.empty(session, first, &format!("TRUNCATE {}", tables.join(", "))).await,
            None => Ok(()),
        };
        match truncated {
            Ok(()) => numbers = shared,
            Err(error) => {
                retry_only(error)?;
                session.frame("ROLLBACK TO SAVEPOINT tablelift_truncate").await?;
                numbers.extend(shared);
            }
        }
        for number in numbers {
            session.frame("SAVEPOINT tablelift_delete").await?;
            if let Err(error) = self.empty(session, number, &self.plans[number].empty()).await {
                session.frame("ROLLBACK TO SAVEPOINT tablelift_delete").await?;
                let at = live.iter().find(|item| item.plan == number).map_or_else(Default::default, |item| item.change.position);
                applied.halts.push(Halt::refused(number, &self.plans[number], at, &retry_only(error)?));
            }
            session.frame("RELEASE SAVEPOINT tablelift_delete").await?;
        }
        session.frame("RELEASE SAVEPOINT tablelift_truncate").await?;
        Ok(())
    }

    async fn empty(&self, session: &Session, number: usize, sql: &str) -> Result<(), TargetError> {
        let refused = |source| TargetError::Refused { table: self.plans[number].target.clone(), source };
        session.client().batch_execute(sql).await.map_err(refused)
    }
}

/// Passes on what is to be tried again; gives back what is not.
fn retry_only(error: TargetError) -> Result<TargetError, ApplyError> {
    if error.fate() == Fate::Retry { Err(error.into()) } else { Ok(error) }
}

fn plans_in_order(items: &[&Item]) -> Vec<usize> {
    let mut numbers = Vec::new();
    for item in items {
        if numbers.last() != Some(&item.plan) && !numbers.contains(&item.plan) {
            numbers.push(item.plan);
        }
    }
    numbers
}

/// One plan's sets.
struct Writer<'a> {
    session: &'a mut Session,
    number: usize,
    plan: &'a TablePlan,
    binding: &'a Binding,
}

impl Writer<'_> {
    async fn rows(&mut self, statement: &Statement, rows: &[Row]) -> Result<Vec<SourceKey>, TargetError> {
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let carried = self.plan.carried(statement);
        let mut out = Rows::new(carried.len());
        let mut cells = Vec::with_capacity(self.plan.inputs.len());
        for row in rows {
            self.binding.cells(row, &mut cells);
            out.push(carried.iter().map(|&input| cells[input]));
        }
        self.session.run(self.number, self.plan, statement, &out).await
    }
}
