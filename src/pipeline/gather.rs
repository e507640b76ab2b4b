//! Natural batching of the stream: take what is queued, up to a limit, and cut at a commit. So idle means low latency and load
//! means large batches. Never half of a transaction, but where one alone is over the limit.

use crate::apply::{Item, Routes};
use crate::change::{CommitLsn, EndLsn, Feed, Position, UnixMicros};
use crate::mapping::TablePlan;
use crate::store::checkpoint::LocalMove;
use crate::telemetry::{Meter, Stage};
use std::sync::Arc;
use std::time::Instant;

/// Changes that go to the target at once.
const MAX_ITEMS: usize = if cfg!(test) { 12 } else { 20_000 };
/// Bytes that they may pin.
const MAX_WEIGHT: usize = 6 * 1024 * 1024;

/// What goes to the target together.
#[derive(Debug, Default)]
pub struct Bundle {
    pub items: Vec<Item>,
    /// Where the transactions end that end in it, in commit order. Then it ends with the last of them.
    pub ends: Vec<LocalMove>,
    /// Nothing is open, and the source has sent everything up to here.
    pub idle: Option<EndLsn>,
    /// The transactions of the items.
    pub xids: Vec<u32>,
    /// Somebody waits for this place.
    pub marked: bool,
    /// When the first of it came.
    pub received: Option<Instant>,
}

/// The stream's changes that have not been handed on.
pub struct Gatherer {
    plans: Arc<Vec<TablePlan>>,
    incarnation: u32,
    routes: Routes,
    bundle: Bundle,
    /// So many of the items lie before the last commit.
    boundary: usize,
    weight: usize,
    marked: bool,
    open: Option<CommitLsn>,
    xid: u32,
    meter: Arc<Meter>,
    /// Transactions that began in what is being taken, and commit times of those that ended in it.
    begun: Vec<(CommitLsn, UnixMicros)>,
    ended: Vec<UnixMicros>,
}

impl Gatherer {
    pub fn new(plans: Arc<Vec<TablePlan>>, incarnation: u32, meter: Arc<Meter>) -> Self {
        let (routes, bundle) = (Routes::default(), Bundle::default());
        let (begun, ended) = (Vec::new(), Vec::new());
        Self {
            plans,
            incarnation,
            routes,
            bundle,
            boundary: 0,
            weight: 0,
            marked: false,
            open: None,
            xid: 0,
            meter,
            begun,
            ended,
        }
    }

    /// Takes one read's worth of the stream.
    pub fn take(&mut self, feeds: Vec<Feed>) {
        self.bundle.received.get_or_insert_with(Instant::now);
        for feed in feeds {
            self.feed(feed);
        }
        self.meter.arrived(&self.begun);
        self.meter.lag_since(Stage::Capture, &self.ended);
        self.begun.clear();
        self.ended.clear();
    }

    /// Changes are waiting, of a transaction whose end has not come yet.
    pub fn holds_items(&self) -> bool {
        !self.bundle.items.is_empty()
    }

    fn feed(&mut self, feed: Feed) {
        match feed {
            Feed::Shape(table) => self.routes.shape(&self.plans, &table),
            Feed::Begin { commit, committed_at, xid } => {
                self.open = Some(commit);
                self.xid = xid;
                self.begun.push((commit, committed_at));
                self.bundle.idle = None;
            }
            Feed::Change(change) => {
                let before = self.bundle.items.len();
                let weight = change.weight();
                self.routes.route(change, &mut self.bundle.items);
                if self.bundle.items.len() > before && self.bundle.xids.last() != Some(&self.xid) {
                    self.bundle.xids.push(self.xid);
                }
                for item in &self.bundle.items[before..] {
                    self.meter.changes(Stage::Capture, item.plan, item.change.op, 1);
                }
                self.weight += weight * (self.bundle.items.len() - before);
            }
            Feed::Mark => self.marked = true,
            Feed::Commit { commit, end, committed_at } => {
                self.open = None;
                self.boundary = self.bundle.items.len();
                self.ended.push(committed_at);
                self.bundle.marked |= std::mem::take(&mut self.marked);
                let position = Position::new(self.incarnation, commit, u64::MAX);
                self.bundle.ends.push(LocalMove { position, end, committed_at });
            }
            Feed::Keepalive { end } => {
                if self.open.is_none() || broken!(IdleInside) {
                    self.bundle.idle = Some(end);
                }
            }
        }
    }

    /// No more fits.
    pub fn is_full(&self) -> bool {
        self.bundle.items.len() >= MAX_ITEMS || self.weight >= MAX_WEIGHT || self.bundle.ends.len() >= MAX_ITEMS
    }

    /// There is something to hand on.
    pub fn is_ready(&self) -> bool {
        !self.bundle.ends.is_empty() || self.bundle.idle.is_some() || self.is_full()
    }

    /// Up to the last commit; or, of one transaction over the limit, what is there.
    pub fn cut(&mut self) -> Bundle {
        let mut bundle = std::mem::take(&mut self.bundle);
        if !bundle.ends.is_empty() && self.boundary < bundle.items.len() {
            self.bundle.items = bundle.items.split_off(self.boundary);
            self.bundle.received = Some(Instant::now());
            // what is left is of the transaction that is open
            self.bundle.xids.push(self.xid);
        }
        self.weight = self.bundle.items.iter().map(|item| item.change.weight()).sum();
        self.boundary = 0;
        bundle
    }
}
