//! A deterministic simulation of everything outside of our process, with our process in it as it is: lives, sessions, reader, writer, copy and
//! re-reads run on a clock and on databases of the model, over connections in memory. A seed is a schedule; one that fails is printed, and
//! runs again the same.

mod daemon;
mod rng;
mod source;
mod source_session;
mod stream;
mod target;
mod target_session;
mod traffic;
mod wire;
mod world;

use std::time::{Duration, Instant};

/// Runs schedules from a seed on, as long as `go_on` says. Gives the first that fails.
fn run(seeds: impl Iterator<Item = u64>, mut each: impl FnMut(u64, &world::Seen)) -> Result<(), (u64, String)> {
    for seed in seeds {
        let seen = traffic::schedule(seed).map_err(|failure| (seed, failure))?;
        each(seed, &seen);
    }
    Ok(())
}

fn traces() -> bool {
    static TRACE: std::sync::LazyLock<bool> = std::sync::LazyLock::new(|| std::env::var_os("TRACE").is_some());
    *TRACE
}

#[test]
fn schedules() {
    let seeds: Vec<u64> = match std::env::var("SEED") {
        Ok(seed) => vec![seed.parse().expect("SEED is a number")],
        Err(_) => (0..std::env::var("SCHEDULES").ok().and_then(|count| count.parse().ok()).unwrap_or(200)).collect(),
    };
    let begun = Instant::now();
    let count = seeds.len();
    let mut sum = world::Seen::default();
    let ended = run(seeds.into_iter(), |_, seen| {
        sum.commits += seen.commits;
        sum.consistent += seen.consistent;
        sum.rereads += seen.rereads;
        sum.crashes += seen.crashes;
    });
    if let Err((seed, failure)) = ended {
        panic!("schedule {seed} fails (SEED={seed} runs it again): {failure}");
    }
    let took = begun.elapsed();
    eprintln!("{count} schedules in {took:?}, {:?} each: {sum:?}", took / u32::try_from(count).unwrap_or(1).max(1));
    let _: Duration = took;
}
