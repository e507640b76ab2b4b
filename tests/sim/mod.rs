//! A deterministic simulation of everything outside of our process, with our process in it as it is: lives, sessions, reader, writer, copy and
//! re-reads run on a clock and on databases of the model, over connections in memory. A seed is a schedule; one that fails is printed, and
//! runs again the same.

#![allow(clippy::print_stderr, reason = "what a test has seen")]

mod broker;
mod daemon;
mod group;
mod halves;
mod promises;
mod rng;
mod source;
mod source_session;
mod stream;
mod target;
mod target_copy;
mod target_log;
mod target_plans;
mod target_session;
mod traffic;
mod wire;
mod world;

use crate::broken::{Rule, broken_by};
use std::env;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;
use world::Seen;

/// `make test` runs so many.
const SCHEDULES: u64 = 10_000;
/// A rule that is broken is found within so many. (Two captures that begin within the same moment are rare.)
const FOUND_WITHIN: u64 = 3_000;

/// A schedule's log, by its seed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Log {
    Local,
    Kafka,
}

impl Log {
    fn of(seed: u64) -> Self {
        if seed.is_multiple_of(2) { Log::Local } else { Log::Kafka }
    }

    fn is_kafka(self) -> bool {
        self == Log::Kafka
    }
}

thread_local! {
    static PANIC: std::cell::RefCell<Option<String>> = const { std::cell::RefCell::new(None) };
}

/// A task of the daemon that panics is a failure, though nobody waits for it.
fn note_panics() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            PANIC.set(Some(panic.to_string()));
            if crate::broken::none() {
                before(panic);
            }
        }));
    });
    PANIC.take();
}

fn traces() -> bool {
    static TRACE: LazyLock<bool> = LazyLock::new(|| env::var_os("TRACE").is_some());
    *TRACE
}

fn number(name: &str) -> Option<u64> {
    env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// On all cores, each seed on one.
fn on_all_cores(run: impl Fn() + Sync) {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        let all: Vec<_> = (0..cores).map(|_| scope.spawn(&run)).collect();
        for one in all {
            if let Err(panic) = one.join() {
                std::panic::resume_unwind(panic);
            }
        }
    });
}

/// `SEED=n`: that one. `SCHEDULES=n`: so many, from `FROM` on. `LOG=local` or `LOG=kafka`: those of one log only.
#[test]
fn schedules() {
    let from = number("SEED").or(number("FROM")).unwrap_or(0);
    let count = if number("SEED").is_some() { 1 } else { number("SCHEDULES").unwrap_or(SCHEDULES) };
    let (next, begun) = (AtomicU64::new(from), Instant::now());
    let sums: [AtomicU64; 4] = Default::default();
    let only = env::var("LOG").ok();
    on_all_cores(|| {
        loop {
            let seed = next.fetch_add(1, Relaxed);
            if seed >= from + count {
                return;
            }
            if only.as_ref().is_some_and(|only| (only == "kafka") != Log::of(seed).is_kafka()) {
                continue;
            }
            match traffic::schedule(seed) {
                Ok(Seen { commits, consistent, rereads, crashes }) => {
                    let seen = [commits, consistent, rereads, crashes];
                    sums.iter().zip(seen).for_each(|(sum, seen)| _ = sum.fetch_add(seen, Relaxed));
                }
                Err(failure) => {
                    next.store(u64::MAX / 2, Relaxed);
                    panic!("schedule {seed} fails (`make sim SEED={seed}` runs it again): {failure}");
                }
            }
        }
    });
    let [commits, consistent, rereads, crashes] = sums.map(AtomicU64::into_inner);
    let seconds = begun.elapsed().as_secs_f64();
    eprintln!(
        "{count} schedules in {seconds:.1} s: {commits} commits of the target, {consistent} of them compared, {rereads} looks at open \
         re-reads, {crashes} faults"
    );
}

/// The simulation has teeth: each rule that is broken is found.
#[test]
fn broken_rules_are_found() {
    let next = AtomicU64::new(0);
    let missed = std::sync::Mutex::new(Vec::new());
    let only = env::var("RULE").ok();
    on_all_cores(|| {
        while let Some(&rule) = Rule::ALL.get(usize::try_from(next.fetch_add(1, Relaxed)).unwrap_or(usize::MAX)) {
            if only.as_ref().is_some_and(|only| *only != format!("{rule:?}")) {
                continue;
            }
            let found = broken_by(Some(rule), || {
                let of_kafka = rule.is_of_kafka();
                let seeds = (0..FOUND_WITHIN).filter(|&seed| !of_kafka || Log::of(seed).is_kafka());
                let tries = seeds.map(|seed| (seed, traffic::schedule(seed)));
                tries.filter_map(|(seed, done)| Some((seed, done.err()?))).next()
            });
            match found {
                Some((seed, failure)) => {
                    let short: String = failure.lines().next().unwrap_or_default().chars().take(100).collect();
                    eprintln!("{:20} schedule {seed:3}: {short}", format!("{rule:?}"));
                }
                None => missed.lock().expect("nobody panics with it").push(rule),
            }
        }
    });
    let missed = missed.into_inner().expect("nobody panics with it");
    assert!(missed.is_empty(), "not found within {FOUND_WITHIN} schedules: {missed:?}");
}
