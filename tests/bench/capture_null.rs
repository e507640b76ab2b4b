//! Drains a slot into nothing, through decoding and assembly, and says how fast that was and what it took.
//!
//! `capture_null HOST:PORT USER DATABASE SLOT PUBLICATION END_LSN`; HOST may be the folder of a Unix socket. It confirms nothing: the slot can be read again.

use anyhow::{Context, Result, bail};
use std::time::{Duration, Instant};
use tablelift::{
    change::{EndLsn, Feed, Lsn},
    pg::{Endpoint, Host},
    source::{Reader, ReaderConfig, SlotName},
};

#[tokio::main]
#[expect(clippy::print_stdout, reason = "the result")]
async fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [address, user, database, slot, publication, end] = &args[..] else {
        bail!("usage: capture_null HOST:PORT USER DATABASE SLOT PUBLICATION END_LSN");
    };
    let (host, port) = address.rsplit_once(':').context("HOST:PORT")?;
    let host = if host.starts_with('/') { Host::unix(host, port.parse()?) } else { Host::tcp(host, port.parse()?) };
    let endpoint = Endpoint::new(host, user, database);
    let config = ReaderConfig::new(endpoint, "capture_null", SlotName::new(slot)?, vec![publication.clone()]);

    let started = Instant::now();
    let mut reader = Reader::start(config, &|task| drop(tokio::spawn(task))).await?;
    let (changes, bytes, last) = drain(&mut reader, EndLsn(end.parse::<Lsn>()?)).await?;
    let took = last.duration_since(started);
    let (cpu, peak) = (cpu_time()?, peak_kib()? / 1024);
    println!(
        "{:.0} changes/s: {changes} changes, {bytes} bytes of rows in {:.2} s; {:.2} CPU s, peak RSS {peak} MiB",
        changes as f64 / took.as_secs_f64(),
        took.as_secs_f64(),
        cpu.as_secs_f64()
    );
    Ok(())
}

/// Reads up to `end`: how many changes, how many bytes of rows, when the last change came.
async fn drain(reader: &mut Reader, end: EndLsn) -> Result<(u64, u64, Instant)> {
    let (mut changes, mut bytes, mut last) = (0, 0, Instant::now());
    loop {
        let before = changes;
        let mut reached = EndLsn::default();
        for feed in reader.next().await? {
            match feed {
                Feed::Change(change) => {
                    changes += 1;
                    bytes += change.after.as_ref().map_or(0, |row| row.weight() as u64);
                }
                Feed::Commit { end, .. } | Feed::Keepalive { end } => reached = end,
                _ => {}
            }
        }
        if changes > before {
            last = Instant::now();
        }
        if reached >= end {
            return Ok((changes, bytes, last));
        }
    }
}

/// User and system time of this process so far, in clock ticks of 10 ms (proc(5)).
fn cpu_time() -> Result<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields = stat.rsplit_once(')').context("stat")?.1;
    let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<u64>).sum::<Result<u64, _>>()?;
    Ok(Duration::from_millis(10 * ticks))
}

/// The most memory it ever had, in KiB.
fn peak_kib() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("VmHWM")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
