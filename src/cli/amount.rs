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

/// Time left, no finer than it is known: `16 s`, `2 min 10 s`, `47 min`, `3 h 20 min`, `2 d 4 h`.
pub(super) fn left(seconds: u64) -> String {
    let to = |step: u64| (seconds + step / 2) / step * step;
    match seconds {
        0..20 => format!("{seconds} s"),
        20..55 => format!("{} s", to(5)),
        55..595 => match (to(10) / 60, to(10) % 60) {
            (minutes, 0) => format!("{minutes} min"),
            (0, seconds) => format!("{seconds} s"),
            (minutes, seconds) => format!("{minutes} min {seconds} s"),
        },
        595..3570 => format!("{} min", to(60) / 60),
        3570..86_250 => match (to(300) / 3600, to(300) % 3600 / 60) {
            (hours, 0) => format!("{hours} h"),
            (hours, minutes) => format!("{hours} h {minutes} min"),
        },
        _ => format!("{} d {} h", to(3600) / 86_400, to(3600) % 86_400 / 3600),
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

    #[test]
    fn what_is_left_is_round() {
        let told = [0, 16, 23, 54, 57, 62, 131, 594, 595, 3569, 3571, 12_100, 86_249, 86_251, 190_000].map(left);
        let round = [
            "0 s",
            "16 s",
            "25 s",
            "55 s",
            "1 min",
            "1 min",
            "2 min 10 s",
            "9 min 50 s",
            "10 min",
            "59 min",
            "1 h",
            "3 h 20 min",
            "23 h 55 min",
            "1 d 0 h",
            "2 d 5 h",
        ];
        assert_eq!(told, round);
        assert!((0..100_000_000).step_by(97).all(|seconds| left(seconds).len() <= 11));
    }
}
