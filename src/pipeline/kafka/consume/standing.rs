//! Partitions that stand still: before a change that the target refuses, or a marker that all partitions pass together. Each is tried
//! again; none holds up another table.

use super::half::Half;
use crate::apply::Halt;
use crate::change::TableName;
use crate::log::kafka::Start;
use crate::pipeline::PipelineError;
use crate::pipeline::kafka::barrier::{self, Opened};
use crate::pipeline::kafka::partition::{Doing, Marker};
use crate::store::checkpoint;
use crate::store::table_state::{self, Halted};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// A conflict that may pass by itself is tried again so often, and so long before the table halts.
pub const CONFLICT_PAUSE: Duration = Duration::from_millis(200);
const CONFLICT_LIMIT: Duration = Duration::from_secs(60);
const HALT_PAUSE: Duration = Duration::from_secs(30);

impl Half {
    /// The next change of a partition is refused.
    ///
    /// # Errors
    /// See [`PipelineError`].
    pub async fn refused(&mut self, at: usize, halt: Halt) -> Result<(), PipelineError> {
        let share = &mut self.shares[at];
        let since = *share.stuck_since.get_or_insert_with(Instant::now);
        if halt.may_pass && since.elapsed() < CONFLICT_LIMIT {
            share.doing = Doing::Stuck { since, again: Instant::now() + CONFLICT_PAUSE };
            self.consumer.seek(&share.partition, Start::Held);
            let spec = share.spec;
            self.waits(spec, Some(&format!("another partition or table: {}", halt.because)));
            return Ok(());
        }
        let spec = share.spec;
        self.halt(spec, Some(at), halt.because, halt.hint).await
    }

    /// Whoever comes to partitions, or back to them, tries their tables anew: what had stopped them is forgotten, and was perhaps another's.
    ///
    /// # Errors
    /// See [`PipelineError`].
    pub async fn anew(&mut self) -> Result<(), PipelineError> {
        let states = table_state::read(self.session.client(), &self.connector).await?;
        let known = self.board.halted_tables();
        for spec in 0..self.specs.len() {
            if self.is_broken(spec) {
                continue;
            }
            self.waits(spec, None);
            let ours = self.shares.iter().any(|share| share.spec == spec);
            for table in self.targets(spec) {
                if ours && states.iter().any(|state| state.target == table && state.halted.is_some()) {
                    table_state::lift(self.session.client(), &self.connector, &table).await?;
                }
                if known.contains_key(&table) {
                    // the target's table may be another one by now
                    self.session.forget();
                    self.board.resumed(&table);
                }
            }
        }
        Ok(())
    }

    fn targets(&self, spec: usize) -> Vec<TableName> {
        self.specs[spec].rules.iter().map(|rule| rule.target.clone()).collect()
    }

    pub fn waits(&self, spec: usize, what: Option<&str>) {
        for table in self.targets(spec) {
            self.board.waits(&table.to_string(), what.map(str::to_owned));
        }
    }

    /// The whole table stands still; it is tried again after a while. `at`: the partition that is to blame, if it is one.
    ///
    /// # Errors
    /// See [`PipelineError`].
    pub async fn halt(&mut self, spec: usize, at: Option<usize>, because: String, hint: String) -> Result<(), PipelineError> {
        let halted = Halted { because, hint };
        let known = self.board.halted_tables();
        self.waits(spec, None);
        for table in self.targets(spec) {
            if known.get(&table).is_none_or(|known| known.halted != halted) {
                tracing::error!(table = %table, "table halted: {}\n  hint: {}", halted.because, halted.hint);
            }
            table_state::halt(self.session.client(), &self.connector, &table, None, &halted).await?;
            self.board.halted(&table, halted.clone(), None);
        }
        for (number, share) in self.shares.iter_mut().enumerate().filter(|(_, share)| share.spec == spec) {
            share.doing = Doing::Halted { again: Instant::now() + HALT_PAUSE };
            share.halted |= at.is_none_or(|at| at == number);
            self.consumer.seek(&share.partition, Start::Held);
        }
        self.tell_oldest();
        Ok(())
    }

    /// What had halted a table has passed, here; once that is so of all our partitions of it, it is halted no more.
    ///
    /// # Errors
    /// See [`PipelineError`].
    pub async fn lift(&mut self, spec: usize) -> Result<(), PipelineError> {
        if self.shares.iter().any(|share| share.spec == spec && share.halted) {
            return Ok(());
        }
        for table in self.targets(spec) {
            table_state::lift(self.session.client(), &self.connector, &table).await?;
            self.board.resumed(&table);
            tracing::info!(table = %table, "the table goes on");
        }
        Ok(())
    }

    /// # Errors
    /// See [`PipelineError`].
    pub async fn stand(&mut self, at: usize, marker: &Marker, offset: i64) -> Result<(), PipelineError> {
        let spec = self.shares[at].spec;
        let arrived = barrier::arrive(&self.session, &self.connector, &self.shares[at], marker, offset).await?;
        let share = &mut self.shares[at];
        share.doing = Doing::Barrier { marker: marker.name(), offset };
        self.consumer.seek(&share.partition, Start::Held);
        if !arrived {
            return self.pass_barriers().await;
        }
        let busy = Arc::clone(&self.busy);
        let busy = busy.begin();
        let opened = barrier::open(&mut self.session, &self.applier, &self.connector, &self.specs[spec], marker).await?;
        drop(busy);
        match opened {
            Opened::NotYet => Ok(()),
            Opened::Yes => self.pass_barriers().await,
            Opened::Refused { because, hint } => self.halt(spec, Some(at), because, hint).await,
        }
    }

    /// Partitions whose marker was opened, here or elsewhere, go on.
    async fn pass_barriers(&mut self) -> Result<(), PipelineError> {
        for at in 0..self.shares.len() {
            let share = &self.shares[at];
            let Doing::Barrier { marker, offset } = share.doing.clone() else { continue };
            let Some(next) = barrier::passed(&self.session, &self.connector, share, &marker, offset).await? else { continue };
            let found = checkpoint::read(self.session.client(), &self.connector).await?;
            let partition = share.partition.clone();
            let found =
                found.into_iter().find(|found| *found.topic == *partition.topic && found.partition == partition.partition);
            let share = &mut self.shares[at];
            if let Some(found) = found {
                share.position = found.position.or(share.position);
                share.capture_epoch = share.capture_epoch.max(found.capture_epoch);
            }
            share.next_offset = next;
            share.doing = Doing::Running;
            share.waiting = None;
            let (spec, halted) = (share.spec, std::mem::take(&mut share.halted));
            self.consumer.seek(&partition, Start::At(next));
            if halted {
                self.lift(spec).await?;
            }
        }
        Ok(())
    }

    /// Tries again what it is time for.
    ///
    /// # Errors
    /// See [`PipelineError`].
    pub async fn tick(&mut self) -> Result<(), PipelineError> {
        let now = Instant::now();
        if self.shares.iter().any(|share| matches!(share.doing, Doing::Barrier { .. })) {
            self.pass_barriers().await?;
        }
        for share in &mut self.shares {
            let again = match share.doing {
                Doing::Stuck { again, .. } | Doing::Halted { again } => again,
                Doing::Running | Doing::Barrier { .. } | Doing::Broken => continue,
            };
            if again > now {
                continue;
            }
            if matches!(share.doing, Doing::Halted { .. }) {
                // the target's table may be another one by now
                self.session.forget();
                share.stuck_since = None;
            }
            share.doing = Doing::Running;
            self.consumer.seek(&share.partition, Start::At(share.next_offset));
        }
        Ok(())
    }
}
