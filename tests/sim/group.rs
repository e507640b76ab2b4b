//! The consumer group: who reads which partition, and who still believes that it does.

use super::broker::offset;
use super::rng::Rng;
use super::world::{Shared, World};
use crate::log::LogError;
use crate::log::kafka::memory::{Member, Order, Record};
use crate::log::kafka::{Batch, Delivery, Partition, Start};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::TryRecvError;
use std::time::Duration;
use tokio::time::Instant;

/// The coordinator's list.
#[derive(Default)]
pub struct Group {
    seats: BTreeMap<u64, Seat>,
    last: u64,
    rounds: u64,
}

struct Seat {
    topics: Vec<Arc<str>>,
    /// The sharing-out that it belongs to, and what it got.
    round: u64,
    partitions: Vec<Partition>,
    /// It hears of nothing before.
    hears: Instant,
    /// It was thrown out.
    out: bool,
}

impl World {
    /// Everything is shared out anew.
    fn share_out(&mut self) {
        let (broker, rng) = (&mut self.broker, &mut self.rng);
        let group = &mut broker.group;
        group.rounds += 1;
        let ids: Vec<u64> = group.seats.iter().filter(|(_, seat)| !seat.out).map(|(id, _)| *id).collect();
        for id in &ids {
            let seat = group.seats.get_mut(id).expect("it is in the list");
            let late = if rng.percent(80) { rng.below(20) } else { rng.below(600) };
            seat.hears = seat.hears.max(Instant::now() + Duration::from_millis(late));
            (seat.round, seat.partitions) = (group.rounds, Vec::new());
        }
        let Some(first) = ids.first() else { return };
        for topic in group.seats[first].topics.clone() {
            let count = broker.topics.get(&*topic).map_or(0, Vec::len);
            for partition in 0..i32::try_from(count).expect("few") {
                let seat = group.seats.get_mut(rng.pick(&ids)).expect("it is in the list");
                seat.partitions.push(Partition { topic: Arc::clone(&topic), partition });
            }
        }
    }

    /// A member is taken to be dead, and does not hear of it for a while.
    pub fn throw_out(&mut self) {
        let ids: Vec<u64> = self.broker.group.seats.iter().filter(|(_, seat)| !seat.out).map(|(id, _)| *id).collect();
        if ids.is_empty() {
            return;
        }
        let (id, deaf) = (*self.rng.pick(&ids), Duration::from_millis(self.rng.below(4000)));
        let seat = self.broker.group.seats.get_mut(&id).expect("it is in the list");
        (seat.out, seat.hears) = (true, Instant::now() + deaf);
        self.share_out();
    }

    /// The same members share anew.
    pub fn rebalance(&mut self) {
        self.share_out();
    }
}

/// A member comes.
pub fn join(world: &Shared, member: Member) {
    let id = {
        let mut world = world.lock();
        let group = &mut world.broker.group;
        group.last += 1;
        let id = group.last;
        let topics = member.topics.clone();
        group.seats.insert(id, Seat { topics, round: 0, partitions: Vec::new(), hears: Instant::now(), out: false });
        world.share_out();
        id
    };
    tokio::spawn(serve(world.clone(), id, member));
}

/// A partition as a member reads it.
struct Feed {
    run: u64,
    next: i64,
    held: bool,
    paused: bool,
}

/// What a member knows.
#[derive(Default)]
struct Known {
    round: u64,
    partitions: Vec<Partition>,
    /// Waits for its owner to say where to begin.
    waiting: Option<u64>,
    feeds: BTreeMap<Partition, Feed>,
}

async fn serve(world: Shared, id: u64, member: Member) {
    let mut known = Known::default();
    loop {
        loop {
            match member.orders.try_recv() {
                Ok(Order::Stop) | Err(TryRecvError::Disconnected) => return leave(world, id).await,
                Err(TryRecvError::Empty) => break,
                Ok(order) => known.obey(&world, order, &member),
            }
        }
        known.hear(&world, id, &member);
        let delivered = known.fetch(&world, &member);
        let pause = {
            let rng = &mut world.lock().rng;
            Duration::from_millis(if delivered { rng.below(4) } else { 5 + rng.below(30) })
        };
        tokio::time::timeout(pause, member.woken.notified()).await.ok();
    }
}

/// In order, or found dead later.
async fn leave(world: Shared, id: u64) {
    let late = {
        let rng = &mut world.lock().rng;
        if rng.percent(50) { 0 } else { rng.below(2500) }
    };
    tokio::time::sleep(Duration::from_millis(late)).await;
    let mut world = world.lock();
    world.broker.group.seats.remove(&id);
    world.share_out();
}

impl Known {
    fn hear(&mut self, world: &Shared, id: u64, member: &Member) {
        let mut world = world.lock();
        let seat = world.broker.group.seats.get_mut(&id).expect("it leaves by itself");
        if Instant::now() < seat.hears || seat.round == self.round && !seat.out {
            return;
        }
        if seat.out {
            // it has heard, and comes back
            seat.out = false;
            world.share_out();
            return;
        }
        let (round, partitions) = (seat.round, seat.partitions.clone());
        world.tell(&format!("member {id} has {}", partitions.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")));
        drop(world);
        if self.round > 0 {
            member.deliver(Delivery::Revoked(std::mem::take(&mut self.partitions)));
        }
        self.feeds.clear();
        (self.round, self.partitions, self.waiting) = (round, partitions.clone(), Some(round));
        member.assigned(round, partitions);
    }

    fn obey(&mut self, world: &Shared, order: Order, member: &Member) {
        match order {
            Order::Start { assignment, starts, run } if self.waiting == Some(assignment.id) => {
                self.waiting = None;
                for partition in assignment.partitions {
                    let start = starts.get(&partition).copied().unwrap_or(Start::Held);
                    let feed = feed(world, &partition, start, run, member);
                    self.feeds.insert(partition, feed);
                }
            }
            Order::Seek { partition, start, run } => {
                if let Some(old) = self.feeds.get_mut(&partition) {
                    *old = feed(world, &partition, start, run, member);
                }
            }
            Order::Pause(partition) => self.feeds.get_mut(&partition).into_iter().for_each(|feed| feed.paused = true),
            Order::Resume(partition) => self.feeds.get_mut(&partition).into_iter().for_each(|feed| feed.paused = false),
            Order::Trouble(tell) => drop(tell.send(None)),
            Order::Start { .. } | Order::Applied(..) | Order::Stop => {}
        }
    }

    /// Some records of some partition; false: there are none.
    fn fetch(&mut self, world: &Shared, member: &Member) -> bool {
        let mut world = world.lock();
        let World { broker, rng, .. } = &mut *world;
        if broker.is_away() {
            return false;
        }
        let at = |feed: &Feed| usize::try_from(feed.next).expect("not negative");
        let records = |partition: &Partition| broker.partition(&partition.topic, partition.partition).expect("it was assigned");
        let has = |(partition, feed): &(&Partition, &mut Feed)| !feed.held && !feed.paused && records(partition).len() > at(feed);
        let mut able: Vec<(&Partition, &mut Feed)> = self.feeds.iter_mut().filter(has).collect();
        if able.is_empty() {
            return false;
        }
        let (partition, feed) = able.swap_remove(rng.index(able.len()));
        let rest: &[Record] = &records(partition)[at(feed)..];
        let some = rest.len().min(some_of(rng));
        let placed = (feed.next..).zip(&rest[..some]);
        member.deliver(Delivery::Batch(Batch::of(&partition.topic, partition.partition, feed.run, placed)));
        feed.next += offset(some);
        true
    }
}

fn some_of(rng: &mut Rng) -> usize {
    if rng.percent(30) { 1 } else { 1 + rng.index(30) }
}

fn feed(world: &Shared, partition: &Partition, start: Start, run: u64, member: &Member) -> Feed {
    let end = world.lock().broker.partition(&partition.topic, partition.partition).map_or(0, |records| offset(records.len()));
    let next = match start {
        Start::Held => None,
        Start::Beginning => Some(0),
        Start::At(next) if next > end => {
            let (topic, partition) = (partition.topic.to_string(), partition.partition);
            member.deliver(Delivery::Fault(LogError::Gap { topic, partition, wanted: next, low: 0, high: end }));
            None
        }
        Start::At(next) => Some(next),
    };
    Feed { run, next: next.unwrap_or(0), held: next.is_none(), paused: false }
}
