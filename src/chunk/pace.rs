//! How much is read at once, and how fast.

use std::time::Duration;

/// A chunk's size, in units of its range (blocks, or rows), so that one takes about as long as it should.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    units: f64,
}

impl Pace {
    /// The first chunk has this many units.
    pub fn new(units: u32) -> Self {
        Self { units: f64::from(units.max(1)) }
    }

    /// The next chunk's size.
    pub fn units(self) -> u32 {
        // between 1 and u32::MAX, by what `took` does
        self.units.max(1.0) as u32
    }

    /// A chunk of so many units took so long, and should take `aim`. Grows at most fourfold at once.
    pub fn took(&mut self, units: u32, time: Duration, aim: Duration) {
        let factor = aim.as_secs_f64() / time.as_secs_f64().max(0.000_1);
        let wanted = f64::from(units) * factor.clamp(0.25, 4.0);
        self.units = wanted.clamp(1.0, f64::from(u32::MAX / 2));
    }

    /// It was given up.
    pub fn halve(&mut self) {
        self.units = (self.units / 2.0).max(1.0);
    }

    pub fn is_least(self) -> bool {
        self.units() == 1
    }
}

/// A limit per second, shared by all workers: a debt that time pays off.
#[derive(Debug, Default)]
pub struct Allowance {
    per_second: Option<f64>,
    debt: f64,
    at: Duration,
}

impl Allowance {
    /// `None`: no limit.
    pub fn new(per_second: Option<u64>) -> Self {
        Self { per_second: per_second.map(|limit| limit.max(1) as f64), debt: 0.0, at: Duration::ZERO }
    }

    /// So much was read. `now`: time since any fixed moment. Gives how long that much takes at the least.
    pub fn spend(&mut self, amount: u64, now: Duration) -> Duration {
        self.pay(now);
        let Some(limit) = self.per_second else { return Duration::ZERO };
        self.debt += amount as f64;
        Duration::from_secs_f64((amount as f64 / limit).min(3600.0))
    }

    /// How long nothing may be read.
    pub fn wait(&mut self, now: Duration) -> Duration {
        self.pay(now);
        match self.per_second {
            Some(limit) if self.debt > 0.0 => Duration::from_secs_f64((self.debt / limit).min(3600.0)),
            _ => Duration::ZERO,
        }
    }

    fn pay(&mut self, now: Duration) {
        let passed = now.saturating_sub(self.at).as_secs_f64();
        self.at = now;
        self.debt = (self.debt - passed * self.per_second.unwrap_or(0.0)).max(0.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_come_to_take_as_long_as_they_should() {
        let aim = Duration::from_secs(1);
        let mut pace = Pace::new(100);
        for _ in 0..10 {
            // a unit takes 2 ms
            pace.took(pace.units(), Duration::from_millis(2) * pace.units(), aim);
        }
        assert_eq!(pace.units(), 500);
        pace.took(500, Duration::ZERO, aim);
        assert_eq!(pace.units(), 2000, "not at once");
        (0..20).for_each(|_| pace.halve());
        assert!(pace.is_least());
    }

    #[test]
    fn what_was_read_at_once_is_paid_off() {
        let second = Duration::from_secs(1);
        let mut limit = Allowance::new(Some(100));
        assert_eq!(limit.wait(second), Duration::ZERO);
        assert_eq!(limit.spend(250, second), Duration::from_millis(2500));
        assert_eq!(limit.wait(second * 2), Duration::from_millis(1500));
        assert_eq!(limit.wait(second * 9), Duration::ZERO);
        let mut none = Allowance::new(None);
        none.spend(u64::MAX, second);
        assert_eq!(none.wait(second), Duration::ZERO);
    }
}
