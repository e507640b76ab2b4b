//! Percentiles over about the last minute: a log-linear histogram per slot of 5 s. Pure: time comes in as seconds that only grow.

/// Seconds that one slot covers.
const SLOT: u64 = 5;
const SLOTS: usize = 12;
/// Buckets per power of two: a percentile is at most 1/16 too high.
const STEPS: u64 = 16;
/// The last bucket takes everything from about twelve days on.
const BUCKETS: usize = 38 * STEPS as usize;

#[derive(Clone, Debug)]
struct Slot {
    /// Which 5 s since the beginning these are.
    number: u64,
    max: u64,
    counts: Vec<u32>,
}

/// What was seen lately, in microseconds.
#[derive(Clone, Debug)]
pub(super) struct Window {
    slots: Vec<Slot>,
}

/// Percentiles and the greatest, in microseconds. A percentile is never below the true one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spread {
    pub p50: u64,
    pub p99: u64,
    pub max: u64,
}

impl Default for Window {
    fn default() -> Self {
        let slot = Slot { number: 0, max: 0, counts: vec![0; BUCKETS] };
        Self { slots: vec![slot; SLOTS] }
    }
}

impl Window {
    pub fn add(&mut self, second: u64, micros: u64, times: u32) {
        let number = second / SLOT;
        let at = usize::try_from(number % SLOTS as u64).unwrap_or(0);
        let slot = &mut self.slots[at];
        if slot.number != number {
            slot.counts.fill(0);
            (slot.number, slot.max) = (number, 0);
        }
        slot.max = slot.max.max(micros);
        let count = &mut slot.counts[bucket(micros)];
        *count = count.saturating_add(times);
    }

    /// Over the slots that are not older than a minute; `None`: nothing was seen.
    pub fn spread(&self, second: u64) -> Option<Spread> {
        let now = second / SLOT;
        let fresh = || self.slots.iter().filter(|slot| slot.number + SLOTS as u64 > now);
        let total: u64 = fresh().flat_map(|slot| &slot.counts).map(|&count| u64::from(count)).sum();
        if total == 0 {
            return None;
        }
        let max = fresh().map(|slot| slot.max).max().unwrap_or(0);
        let percentile = |percent: u64| {
            let rank = (total * percent).div_ceil(100);
            let mut seen = 0;
            let found = (0..BUCKETS).find(|&at| {
                seen += fresh().map(|slot| u64::from(slot.counts[at])).sum::<u64>();
                seen >= rank
            });
            found.map_or(max, |at| ceiling(at).min(max))
        };
        Some(Spread { p50: percentile(50), p99: percentile(99), max })
    }
}

/// Small values have a bucket each; from there on each power of two has `STEPS`.
fn bucket(micros: u64) -> usize {
    if micros < STEPS {
        return usize::try_from(micros).unwrap_or(0);
    }
    let shift = u64::from(micros.ilog2()) - 4;
    let at = (shift + 1) * STEPS + ((micros >> shift) - STEPS);
    usize::try_from(at).unwrap_or(BUCKETS).min(BUCKETS - 1)
}

/// The greatest value of a bucket.
fn ceiling(at: usize) -> u64 {
    let at = at as u64;
    if at < STEPS {
        return at;
    }
    let shift = at / STEPS - 1;
    ((at % STEPS + STEPS + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_cover_everything_and_are_narrow() {
        let mut last = 0;
        for micros in (0..100_000).chain((17..63).map(|power| (1 << power) + 12_345)) {
            let at = bucket(micros);
            assert!(at >= last, "{micros}");
            last = at;
            if at < BUCKETS - 1 {
                let top = ceiling(at);
                assert!(top >= micros && top - micros <= micros / STEPS, "{micros}: {top}");
            }
        }
    }

    #[test]
    fn percentiles_are_over_the_last_minute() {
        let mut window = Window::default();
        assert_eq!(window.spread(0), None);
        (1..=1000).for_each(|n| window.add(3, n * 1000, 1));
        let spread = window.spread(10).unwrap();
        assert!((500_000..532_000).contains(&spread.p50) && (990_000..=1_000_000).contains(&spread.p99), "{spread:?}");
        assert_eq!(spread.max, 1_000_000);
        window.add(50, 7, 2);
        assert_eq!(window.spread(59).unwrap().max, 1_000_000);
        // the first slot is over a minute old
        assert_eq!(window.spread(60), Some(Spread { p50: 7, p99: 7, max: 7 }));
        // and its place is taken by another
        window.add(61, 5, 3);
        assert_eq!(window.spread(61), Some(Spread { p50: 5, p99: 7, max: 7 }));
        assert_eq!(window.spread(1000), None);
    }

    #[test]
    fn a_single_value_is_itself() {
        let mut window = Window::default();
        window.add(0, 123_456_789, 1);
        assert_eq!(window.spread(0), Some(Spread { p50: 123_456_789, p99: 123_456_789, max: 123_456_789 }));
    }
}
