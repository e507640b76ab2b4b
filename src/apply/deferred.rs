//! A whole transaction's worth of changes: constraints that are deferred to its COMMIT are checked before it, so that a change they
//! refuse halts its table as any other does.

use super::{Applied, Applier, ApplyError, Halt, Item};
use crate::fate::Fate;
use crate::target::{Session, TargetError};

impl Applier {
    /// Applies changes, in order, inside the open transaction, which is to be committed (or rolled back) next: from here on its
    /// constraints are immediate. Where source transactions are whole, `apply_part` and their COMMIT tell more.
    ///
    /// # Errors
    /// As `apply_part`.
    pub async fn apply(&self, session: &mut Session, items: &[Item]) -> Result<Applied, ApplyError> {
        if !self.deferred || items.is_empty() {
            return self.apply_part(session, items).await;
        }
        let mut halts: Vec<Halt> = Vec::new();
        let mut left = items.to_vec();
        session.frame("SAVEPOINT tablelift_whole").await?;
        loop {
            let mut applied = self.apply_part(session, &left).await?;
            let Err(refused) = check(session).await? else {
                applied.halts.extend(halts);
                return Ok(applied);
            };
            let at = self.first_refused(session, &left).await?;
            let halt = Halt::at_commit(left[at].plan, &self.plans[left[at].plan], left[at].change.position, &refused);
            let behind = left.split_off(at);
            left.extend(behind.into_iter().filter(|item| item.plan != halt.plan));
            halts.push(halt);
            session.frame("ROLLBACK TO SAVEPOINT tablelift_whole").await?;
        }
    }

    /// The change with which the constraints begin not to hold, by bisection. Two changes that only hold together may be parted by it
    /// where another is to blame; that one is found once they are in.
    async fn first_refused(&self, session: &mut Session, items: &[Item]) -> Result<usize, ApplyError> {
        let (mut good, mut bad) = (0, items.len());
        while bad - good > 1 {
            let middle = good.midpoint(bad);
            session.frame("ROLLBACK TO SAVEPOINT tablelift_whole").await?;
            self.apply_part(session, &items[..middle]).await?;
            match check(session).await? {
                Ok(()) => good = middle,
                Err(_) => bad = middle,
            }
        }
        Ok(good)
    }
}

/// Whether what is deferred holds now.
async fn check(session: &Session) -> Result<Result<(), TargetError>, ApplyError> {
    match session.frame("SET CONSTRAINTS ALL IMMEDIATE").await {
        Err(error) if error.fate() == Fate::Retry => Err(error.into()),
        checked => Ok(checked),
    }
}
