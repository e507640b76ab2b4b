//! `[copy]`: how fast tables are copied, and what that gives way to.

use super::mistake::Complaint;
use super::section::{Reader, Section};
use std::time::Duration;

/// How fast, of all tables together. A reload changes it while a copy runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyConfig {
    /// Chunks that are read at a time.
    pub workers: usize,
    pub max_rows_per_second: Option<u64>,
    pub max_bytes_per_second: Option<u64>,
    /// No chunk begins while the stream is later than this.
    pub pause_when_lag_over: Duration,
}

impl Default for CopyConfig {
    fn default() -> Self {
        let pause_when_lag_over = Duration::from_secs(5);
        Self { workers: 2, max_rows_per_second: None, max_bytes_per_second: None, pause_when_lag_over }
    }
}

const MOST_WORKERS: i32 = 64;

pub(super) fn copy(reader: &mut Reader<'_>, top: &mut Section<'_>) -> CopyConfig {
    let mut config = CopyConfig::default();
    let Some(mut section) = reader.section(top, "copy") else { return config };
    if let Some(workers) = reader.integer(&mut section, "workers", 1..=MOST_WORKERS) {
        config.workers = usize::try_from(workers).unwrap_or(1);
    }
    let rows = reader.integer(&mut section, "max_rows_per_second", 1..=i32::MAX);
    config.max_rows_per_second = rows.and_then(|rows| u64::try_from(rows).ok());
    config.max_bytes_per_second = amount(reader, &mut section, "max_bytes_per_second", bytes, "\"20MB\"");
    if let Some(lag) = amount(reader, &mut section, "pause_when_lag_over", duration, "\"5s\"") {
        config.pause_when_lag_over = lag;
    }
    reader.close(&section);
    config
}

fn amount<T>(
    reader: &mut Reader<'_>,
    section: &mut Section<'_>,
    key: &'static str,
    parse: impl Fn(&str) -> Option<T>,
    example: &str,
) -> Option<T> {
    let text = reader.text(section, key)?;
    let found = parse(&text.value);
    if found.is_none() {
        let what = format!("`{key}` is \"{}\", and an amount with its unit is meant", text.written);
        reader.complain(text.place, Complaint::new(what).hint(format!("{key} = {example}")));
    }
    found
}

/// A whole number above zero and its unit.
fn split(text: &str) -> Option<(u64, &str)> {
    let at = text.find(|c: char| !c.is_ascii_digit())?;
    let number = text[..at].parse().ok().filter(|&number: &u64| number > 0)?;
    Some((number, text[at..].trim()))
}

/// `20MB`, in powers of 1024 as PostgreSQL reads them.
fn bytes(text: &str) -> Option<u64> {
    let (number, unit) = split(text)?;
    let power = ["B", "kB", "MB", "GB", "TB"].iter().position(|known| *known == unit)?;
    number.checked_mul(1024_u64.checked_pow(u32::try_from(power).ok()?)?)
}

/// `500ms`, `5s`, `2min`, `1h`.
fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = split(text)?;
    let millis: u64 = match unit {
        "ms" => 1,
        "s" => 1000,
        "min" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    Some(Duration::from_millis(number.checked_mul(millis)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_have_units() {
        assert_eq!(
            ["1B", "20MB", "3 kB", "0MB", "MB", "20", "20mb"].map(bytes),
            [Some(1), Some(20 << 20), Some(3 << 10), None, None, None, None]
        );
        let seconds = |text: &str| duration(text).map(|time| time.as_secs_f64());
        assert_eq!(
            ["500ms", "5s", "2min", "1h", "5", "-1s"].map(seconds),
            [Some(0.5), Some(5.0), Some(120.0), Some(3600.0), None, None]
        );
    }
}
