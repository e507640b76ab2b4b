//! One schedule: traffic, faults, and in the end the question whether both sides are equal.

use super::Log;
use super::daemon::{Daemon, Process};
use super::rng::Rng;
use super::source::SHAPES;
use super::world::{Blow, Seen, Shared, World};
use crate::config::LogKind;
use crate::fate::Fate;
use crate::pipeline::{End, PipelineError};
use futures_util::stream::{FuturesUnordered, StreamExt};
use std::pin::Pin;
use std::time::Duration;

/// So long, on the model's clock, the daemon has to get everything there once the traffic has ended.
pub const PATIENCE: Duration = Duration::from_secs(300);

pub type Life = Pin<Box<dyn Future<Output = Result<End, PipelineError>>>>;

/// Runs one schedule to its end.
///
/// # Errors
/// What went wrong.
pub fn schedule(seed: u64) -> Result<Seen, String> {
    super::note_panics();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    runtime.block_on(async {
        let world = Shared::new(World::new(seed));
        let log = Log::of(seed);
        world.lock().log = log;
        let workers = begin(&mut world.lock());
        let kind = if log.is_kafka() { super::halves::log(&world) } else { LogKind::Local };
        let daemon = Daemon::new(&world, workers, kind);
        let traffic = tokio::spawn(traffic(world.clone()));
        let ended = match log {
            Log::Local => lives(&daemon, &world, &traffic).await,
            Log::Kafka => super::halves::lives(&daemon, &world, &traffic).await,
        };
        crate::log::kafka::memory::withdraw();
        let mut world = world.lock();
        let failure = world.failure.take().or(super::PANIC.take().map(|panic| format!("a panic: {panic}")));
        match (failure, ended) {
            (Some(failure), _) => Err(failure),
            (None, ended) => ended.map(|()| world.seen),
        }
    })
}

/// Rows that are there before we come. Gives how many workers copy them.
fn begin(world: &mut World) -> usize {
    let World { source, rng, .. } = world;
    let rows = rng.below(40);
    for _ in 0..rows {
        let xid = source.begin();
        // the table without a key is followed from its first row
        source.try_insert(rng.index(SHAPES.len() - 1), xid, rng);
        source.commit(xid, Duration::ZERO);
    }
    let workers = 1 + rng.index(3);
    // a transaction that is open when the slot is made must end first; one that is late may not be visible yet
    for _ in 0..rng.below(3) {
        let late = world.lateness();
        let World { source, rng, .. } = world;
        let xid = source.begin();
        (0..1 + rng.below(3)).for_each(|_| source.statement_but(xid, SHAPES.len() - 1, rng));
        source.commit(xid, late);
    }
    world.prepared();
    workers
}

/// The application's.
async fn traffic(world: Shared) {
    let (steps, gap, truncates) = {
        let rng = &mut world.lock().rng;
        (20 + rng.below(90), *rng.pick(&[4, 12, 30, 60]), rng.percent(25))
    };
    for _ in 0..steps {
        let pause = {
            let mut world = world.lock();
            step(&mut world, truncates);
            world.rng.below(gap + 1)
        };
        if pause > 0 {
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
    }
    let mut world = world.lock();
    for xid in world.source.open() {
        let late = world.lateness();
        world.source.commit(xid, late);
    }
}

fn step(world: &mut World, truncates: bool) {
    let late = world.lateness();
    let World { source, rng, .. } = world;
    let open = source.open();
    match rng.below(100) {
        0..25 if open.len() < 3 => drop(source.begin()),
        25..30 if !open.is_empty() => source.abort(*rng.pick(&open)),
        30..55 if !open.is_empty() => drop(source.commit(*rng.pick(&open), late)),
        55..57 if truncates => source.truncate(rng.index(SHAPES.len()), late),
        57..60 => source.rewrite(rng.index(SHAPES.len()), rng),
        60..61 => drop(source.mark()),
        _ if !open.is_empty() => {
            let xid = *rng.pick(&open);
            let many = if rng.percent(4) { 30 } else { 1 + rng.below(3) };
            (0..many).for_each(|_| source.statement(xid, rng));
        }
        _ => drop(source.begin()),
    }
}

/// What befalls us.
#[derive(Debug)]
enum Fault {
    /// We are asked to stop.
    Stop,
    /// We are killed, anywhere.
    Kill,
    /// We stand still while another takes over, and then go on.
    Zombie,
    Of(Blow),
}

/// Lives after lives, with faults between, until all is there.
async fn lives(daemon: &Daemon, world: &Shared, traffic: &tokio::task::JoinHandle<()>) -> Result<(), String> {
    let (mut faults, mut rng) = {
        let world = &mut *world.lock();
        (world.rng.below(8), Rng::new(world.rng.next()))
    };
    let mut zombies: FuturesUnordered<Life> = FuturesUnordered::new();
    let mut life: Option<Life> = None;
    let mut process = Process::default();
    let mut until = None;
    let mut fault_at = tokio::time::Instant::now() + Duration::from_millis(rng.below(300));
    loop {
        let now = tokio::time::Instant::now();
        let is_over = traffic.is_finished() && world.lock().source.all_visible();
        {
            let world = world.lock();
            let halted = process.board.halted_tables();
            if world.failure.is_some() || is_over && world.is_there() && halted.is_empty() {
                return Ok(());
            }
            if is_over && *until.get_or_insert(now + PATIENCE) <= now {
                return Err(format!("it does not get there: {}\n  halted: {halted:?}", world.lacks()));
            }
        }
        if is_over && faults == 0 && world.lock().goes_on_when_asked() {
            world.lock().tell("==== asked to go on");
            life = None;
        }
        let running = life.get_or_insert_with(|| Box::pin(daemon.life(&process)));
        let next = if faults > 0 { fault_at } else { now + Duration::from_millis(50) };
        let ended = tokio::select! {
            biased;
            Some(_) = zombies.next(), if !zombies.is_empty() => continue,
            ended = running => Some(ended),
            () = tokio::time::sleep_until(next) => None,
        };
        match ended {
            Some(Ok(End::Again)) => {
                world.lock().tell("==== again");
                life = None;
            }
            Some(Ok(End::Stopped)) if *process.stop.borrow() => (life, process) = (None, Process::default()),
            Some(Ok(end)) => return Err(format!("a life ended: {end:?}")),
            Some(Err(error)) if error.fate() == Fate::Retry => {
                world.lock().tell(&format!("==== {}", crate::pipeline::chain(&error)));
                life = None;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Some(Err(error)) => return Err(format!("a life failed: {}", crate::pipeline::chain(&error))),
            None if faults > 0 => {
                faults -= 1;
                world.lock().seen.crashes += 1;
                fault_at = tokio::time::Instant::now() + Duration::from_millis(rng.below(600));
                let fault = rng.pick(&[
                    Fault::Stop,
                    Fault::Kill,
                    Fault::Kill,
                    Fault::Zombie,
                    Fault::Of(Blow::Source),
                    Fault::Of(Blow::Target),
                    Fault::Of(Blow::Resync),
                    Fault::Of(Blow::Tamper),
                    Fault::Of(Blow::Rows),
                    Fault::Of(Blow::Rows),
                    Fault::Of(Blow::Bar),
                ]);
                world.lock().tell(&format!("==== {fault:?}"));
                match fault {
                    Fault::Stop => _ = process.stop.send(true),
                    Fault::Kill => (life, process) = (None, Process::default()),
                    Fault::Zombie => {
                        zombies.extend(life.take());
                        process = Process::default();
                    }
                    Fault::Of(blow) => world.lock().suffers(*blow),
                }
            }
            None => {}
        }
    }
}
