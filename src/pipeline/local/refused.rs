//! What the target refuses only at COMMIT: constraints and constraint triggers that are deferred to the end of the transaction, where
//! `triggers = "fire"` (or the trigger is enabled ALWAYS).
//!
//! The COMMIT itself is the check, so it costs nothing while it goes through. One that is refused is done again in halves, down to the
//! source transaction whose end the target cannot hold: what lies before it is in the target by then. That one goes in without the
//! table that is to blame, which halts before its first change in it.

use super::{LocalError, LocalWriter};
use crate::apply::{Halt, Item};
use crate::change::{Position, TableName};
use crate::pipeline::gate::Gate;
use crate::store::checkpoint::LocalMove;
use crate::target::TargetError;
use std::collections::BTreeMap;

/// So many changes of a table are tried one by one to find one that shows when the table is cured.
const TELLING: usize = 100;

impl LocalMove {
    /// How many of the items, which are in the stream's order, belong to what ends here.
    pub(super) fn count_in(&self, items: &[Item]) -> usize {
        items.partition_point(|item| item.change.position <= self.position)
    }
}

impl LocalWriter {
    /// Whole source transactions: all in one target transaction, if the target takes them so.
    pub(super) async fn transactions(&mut self, items: &[Item], ends: &[LocalMove]) -> Result<(), LocalError> {
        let mut todo = vec![(items, ends)];
        while let Some((items, ends)) = todo.pop() {
            let Some(&last) = ends.last() else { continue };
            match self.transact(items, last, &[]).await? {
                Ok(()) => {}
                Err(refused) if ends.len() == 1 => Box::pin(self.without_the_blamed(items, last, refused)).await?,
                Err(_) => {
                    let (sooner, later) = ends.split_at(ends.len() / 2);
                    let (first, second) = items.split_at(sooner.last().map_or(0, |end| end.count_in(items)));
                    todo.push((second, later));
                    todo.push((first, sooner));
                }
            }
        }
        Ok(())
    }

    /// One source transaction, whose end the target refuses. The server names a table, which for a foreign key is always the one
    /// that refers, and may be none of ours: so what is left out is decided by trying, the named table first. All of them is the last
    /// resort, and always goes through.
    async fn without_the_blamed(&mut self, items: &[Item], end: LocalMove, refused: TargetError) -> Result<(), LocalError> {
        let mut halts: Vec<Halt> = Vec::new();
        let mut refused = refused;
        loop {
            let left: Vec<(usize, Position)> = self.tables_of(items, &halts);
            if left.is_empty() {
                return Err(refused.into());
            }
            let (named, others): (Vec<_>, Vec<_>) = left.into_iter().partition(|(plan, _)| self.is_named(*plan, &refused));
            let halt = |writer: &Self, (plan, position)| Halt::at_commit(plan, &writer.applier.plans[plan], position, &refused);
            for &one in named.iter().chain(&others) {
                let fewer = [&halts[..], &[halt(self, one)]].concat();
                if self.transact(items, end, &fewer).await?.is_ok() {
                    return self.find_telling(items, &fewer).await;
                }
            }
            let blamed = if named.is_empty() { others } else { named };
            halts.extend(blamed.into_iter().map(|one| halt(self, one)).collect::<Vec<_>>());
            match self.transact(items, end, &halts).await? {
                Ok(()) => return self.find_telling(items, &halts).await,
                Err(error) => refused = error,
            }
        }
    }

    /// The tables that want some of the items, each with the first, in the stream's order.
    fn tables_of(&self, items: &[Item], halts: &[Halt]) -> Vec<(usize, Position)> {
        let mut tables: Vec<(usize, Position)> = Vec::new();
        for item in items.iter().filter(|item| self.gates.wants(item.plan, item.change.position)) {
            let seen = tables.iter().any(|(plan, _)| *plan == item.plan) || halts.iter().any(|halt| halt.plan == item.plan);
            if !seen {
                tables.push((item.plan, item.change.position));
            }
        }
        tables
    }

    fn is_named(&self, plan: usize, refused: &TargetError) -> bool {
        refused.table().as_ref() == Some(&self.applier.plans[plan].target)
    }

    /// A halted table is tried again by one change. Its first one in a transaction need not be the one that was refused: then the
    /// table would be tried again, and fail, for ever. Puts one on the board that is refused for the same reason by itself.
    async fn find_telling(&mut self, items: &[Item], halts: &[Halt]) -> Result<(), LocalError> {
        for halt in halts {
            for item in items.iter().filter(|item| item.plan == halt.plan).take(TELLING) {
                self.session.frame("BEGIN").await?;
                let applied = self.applier.apply(&mut self.session, std::slice::from_ref(item)).await?;
                self.session.frame("ROLLBACK").await?;
                if applied.halts.iter().any(|found| found.because == halt.because) {
                    let mut item = item.clone();
                    item.change.detach();
                    self.board.halted(&self.applier.plans[halt.plan].target, super::halted(halt), Some(item));
                    break;
                }
            }
        }
        Ok(())
    }

    /// The same for a source transaction that came in several parts: those before the last are gone, and cannot be tried without a
    /// table. So what is to blame is halted, durably, and a new life reads the transaction again without it. That life must know: a
    /// life tries every halted table anew, and would end here again.
    pub(super) async fn set_apart(
        &mut self,
        first: &BTreeMap<usize, Position>,
        refused: TargetError,
    ) -> Result<LocalError, LocalError> {
        let touched = || first.iter().filter(|(plan, _)| !matches!(self.gates.gate(**plan), Gate::Halted(_)));
        let named: Vec<(&usize, &Position)> = touched().filter(|(plan, _)| self.is_named(**plan, &refused)).collect();
        let blamed = if named.is_empty() { touched().collect() } else { named };
        if blamed.is_empty() {
            return Ok(refused.into());
        }
        self.begin(None).await?;
        for (&plan, &position) in blamed {
            self.halt(Halt::at_commit(plan, &self.applier.plans[plan], position, &refused), &[]).await?;
        }
        self.commit().await??;
        let plans = self.applier.plans.iter().enumerate();
        let halted = plans.filter(|(plan, _)| matches!(self.gates.gate(*plan), Gate::Halted(_)));
        let halted: Vec<TableName> = halted.map(|(_, plan)| plan.target.clone()).collect();
        Ok(LocalError::Apart(halted))
    }
}
