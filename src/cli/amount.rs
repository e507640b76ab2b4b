//! Numbers for people: short, and with their unit.

/// `950`, `12.3 k`, `1.2 M`.
pub(super) fn count(number: u64) -> String {
    scaled(number, 1000, &["", " k", " M", " G", " T"])
}

/// `950 B`, `12.3 MB`, in powers of 1024 as PostgreSQL writes them.
pub(super) fn bytes(number: u64) -> String {
    scaled(number, 1024, &[" B", " kB", " MB", " GB", " TB", " PB"])
}

fn scaled(number: u64, step: u64, units: &[&str]) -> String {
    let (mut unit, mut one) = (0, 1);
    while number / one >= step && unit + 1 < units.len() {
        one *= step;
        unit += 1;
    }
    let (whole, tenths) = (number / one, number % one * 10 / one);
    let unit = units[unit];
    if one == 1 || whole >= 100 { format!("{whole}{unit}") } else { format!("{whole}.{tenths}{unit}") }
}

/// `0 ms`, `4.3 ms`, `120 ms`, `1.5 s`, `2:05`.
pub(super) fn millis(millis: f64) -> String {
    if millis == 0.0 {
        "0 ms".to_owned()
    } else if millis < 100.0 {
        format!("{millis:.1} ms")
    } else if millis < 1000.0 {
        format!("{millis:.0} ms")
    } else if millis < 60_000.0 {
        format!("{:.1} s", millis / 1000.0)
    } else {
        time(whole(millis / 1000.0))
    }
}

/// `16 s`, `2:05`, `1:02:05`, `3 d 4 h`.
pub(super) fn time(seconds: u64) -> String {
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{minutes}:{:02}", seconds % 60),
        3600..86_400 => format!("{hours}:{:02}:{:02}", minutes % 60, seconds % 60),
        _ => format!("{} d {} h", hours / 24, hours % 24),
    }
}

#[allow(clippy::cast_precision_loss, reason = "for display")]
pub(super) fn float(number: u64) -> f64 {
    number as f64
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "for display, and never below zero")]
pub(super) fn whole(number: f64) -> u64 {
    number.round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_short() {
        assert_eq!([0, 999, 1000, 12_345, 123_456, 1_250_000].map(count), ["0", "999", "1.0 k", "12.3 k", "123 k", "1.2 M"]);
        assert_eq!([0, 1023, 1536, 10 << 30].map(bytes), ["0 B", "1023 B", "1.5 kB", "10.0 GB"]);
        assert_eq!([0.0, 0.84, 120.4, 1500.0, 125_000.0].map(millis), ["0 ms", "0.8 ms", "120 ms", "1.5 s", "2:05"]);
        assert_eq!([5, 75, 3725, 100_000].map(time), ["5 s", "1:15", "1:02:05", "1 d 3 h"]);
    }
}
