//! How fast something gets on, and how long the rest takes, from what was seen of it.

use std::collections::VecDeque;
use std::time::Duration;

/// A rate is taken over so long: shorter and it jumps, longer and it is of another time.
const OVER: Duration = Duration::from_secs(30);
/// What has not moved for so long has no rate.
const STALLED: Duration = Duration::from_secs(60);
/// Two steps are not told apart by looks that are closer than this.
const SHORTEST: Duration = Duration::from_secs(1);

/// What was seen lately of an amount that grows in steps, such as the bytes that are copied, chunk by chunk. Only looks that found it grown
/// count, so that half a chunk that nobody can see is no error: between two of them lies a whole number of steps.
#[derive(Clone, Debug, Default)]
pub struct Headway {
    /// When it was found grown, and how far it was, both ascending.
    steps: VecDeque<(Duration, u64)>,
    /// The first was a look like any other, not one that found it grown.
    begun_between: bool,
}

impl Headway {
    /// `now`: since any fixed moment, and it only grows. An amount that is less than before begins anew.
    pub fn note(&mut self, now: Duration, amount: u64) {
        let alone = self.steps.len() == 1;
        match self.steps.back_mut() {
            // until it moves, only the last look is of interest
            Some((then, last)) if *last == amount && self.begun_between && alone => {
                *then = now;
                return;
            }
            Some(&mut (_, last)) if last == amount => return,
            Some(&mut (then, last)) if last < amount && now <= then + STALLED => {}
            _ => *self = Self { steps: VecDeque::new(), begun_between: self.steps.is_empty() },
        }
        self.steps.push_back((now, amount));
        if self.begun_between && self.steps.len() > 2 {
            self.begun_between = false;
            self.steps.pop_front();
        }
        while self.steps.len() > 2 && self.steps[1].0 + OVER < now {
            self.steps.pop_front();
        }
    }

    /// It is known to stand still: what was seen says nothing of how it goes on.
    pub fn pause(&mut self) {
        *self = Self::default();
    }

    /// How much a second; `None`: not known, or it stands still.
    pub fn per_second(&self, now: Duration) -> Option<f64> {
        let ((from, first), (to, last)) = (*self.steps.front()?, *self.steps.back()?);
        let since = now.saturating_sub(to);
        if to <= from || since > STALLED {
            return None;
        }
        // a step that is late makes it slower
        let late = since.saturating_sub(self.step()? * 2);
        Some((last - first) as f64 / (to - from + late).as_secs_f64())
    }

    /// Until it has grown by `rest` more than it had at the last look; `None`: not known.
    pub fn left(&self, now: Duration, rest: u64) -> Option<Duration> {
        let rate = self.per_second(now)?;
        let whole = Duration::try_from_secs_f64(rest as f64 / rate).ok()?;
        // a part of the step that is under way is done
        let under_way = now.saturating_sub(self.steps.back()?.0).min(self.step()?);
        Some(whole.saturating_sub(under_way))
    }

    /// How long a step takes.
    fn step(&self) -> Option<Duration> {
        let steps = u32::try_from(self.steps.len()).ok()?.checked_sub(1)?;
        let ((from, _), (to, _)) = (self.steps.front()?, self.steps.back()?);
        Some((*to - *from).checked_div(steps)?.max(SHORTEST))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// A small generator, so that the noise is the same each time.
    struct Noise(u64);

    impl Noise {
        /// Between 0 and 1.
        fn next(&mut self) -> f64 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) as f64 / f64::from(1_u32 << 31)
        }
    }

    /// When each chunk of a uniform table ends, by so many workers. Chunks take `aim`, give or take a third; the first ones are small.
    fn chunks(workers: u32, blocks: u64, per_second: f64, aim: f64, noise: &mut Noise) -> Vec<(f64, u64)> {
        let mut ends = Vec::new();
        let (mut clocks, mut units, mut given) = (vec![0.2_f64; workers as usize], 256.0_f64, 0);
        while given < blocks {
            let at = (0..clocks.len()).min_by(|&a, &b| clocks[a].total_cmp(&clocks[b])).unwrap();
            let size = (units as u64).clamp(1, blocks - given);
            clocks[at] += size as f64 / (per_second / f64::from(workers)) * (0.67 + 0.66 * noise.next());
            given += size;
            ends.push((clocks[at], size));
            units = (units * 4.0).min(per_second / f64::from(workers) * aim);
        }
        ends.sort_by(|a, b| a.0.total_cmp(&b.0));
        ends
    }

    #[test]
    fn from_half_way_on_it_is_within_a_fifth() {
        let mut noise = Noise(7);
        for workers in [1, 2, 4] {
            for (blocks, per_second, aim) in
                [(200_000, 10_000.0, 0.2), (400_000, 10_000.0, 1.0), (2_000_000, 20_000.0, 1.0), (50_000_000, 9_000.0, 1.0)]
            {
                let ends = chunks(workers, blocks, per_second, aim, &mut noise);
                let whole = ends.last().unwrap().0;
                let (mut headway, mut next, mut now, mut looks) = (Headway::default(), 0, 0.0, 0);
                let mut done = 0;
                headway.note(Duration::ZERO, 0);
                loop {
                    now += 1.0 + 0.05 * noise.next();
                    if now >= whole {
                        break;
                    }
                    while ends[next].0 <= now {
                        done += ends[next].1;
                        next += 1;
                    }
                    headway.note(Duration::from_secs_f64(now), done);
                    if done * 2 < blocks {
                        continue;
                    }
                    let told =
                        headway.left(Duration::from_secs_f64(now), blocks - done).expect("half of it was seen").as_secs_f64();
                    let off = (told - (whole - now)).abs();
                    // of what is left, and towards the end of a look's time
                    assert!(
                        off <= (0.2 * (whole - now)).max(1.5),
                        "{workers} workers, {blocks} blocks, after {now:.1} of {whole:.1} s: {told:.1} s"
                    );
                    looks += 1;
                }
                assert!(looks >= 5, "{looks}");
            }
        }
    }

    #[test]
    fn nothing_is_known_before_it_moves() {
        let mut headway = Headway::default();
        assert_eq!((headway.per_second(Duration::ZERO), headway.left(Duration::ZERO, 5)), (None, None));
        for second in 0..100 {
            headway.note(Duration::from_secs(second), 0);
        }
        assert_eq!(headway.left(Duration::from_secs(100), 5), None);
        headway.note(Duration::from_secs(101), 10);
        let left = headway.left(Duration::from_secs(101), 5).unwrap();
        assert!(left <= Duration::from_secs(1), "the wait before it is no part of it: {left:?}");
        headway.note(Duration::from_secs(102), 20);
        headway.note(Duration::from_secs(103), 30);
        assert_eq!(
            headway.left(Duration::from_secs(103), 50),
            Some(Duration::from_secs(5)),
            "the wait before it is no part of it"
        );
        assert_eq!(headway.left(Duration::from_secs(103), 0), Some(Duration::ZERO));
    }

    #[test]
    fn what_stands_still_takes_longer_and_longer_and_then_nobody_knows() {
        let mut headway = Headway::default();
        for second in 0..=20 {
            headway.note(Duration::from_secs(second), second * 100);
        }
        let left = |second| headway.left(Duration::from_secs(second), 1000).map(|left| left.as_secs());
        assert_eq!((left(20), left(21)), (Some(10), Some(9)), "it counts down between two steps");
        let told: Vec<u64> = (22..=80).filter_map(left).collect();
        assert!(told.is_sorted() && told.len() == 59 && told.last() > Some(&30), "{told:?}");
        assert_eq!(left(81), None);
        headway.note(Duration::from_secs(500), 2100);
        assert_eq!(headway.left(Duration::from_secs(500), 1000), None, "the pause is no part of the rate");
        headway.note(Duration::from_secs(501), 2200);
        assert_eq!(headway.left(Duration::from_secs(501), 1000), Some(Duration::from_secs(10)));
    }

    #[test]
    fn what_begins_anew_forgets() {
        let mut headway = Headway::default();
        (0..10).for_each(|second| headway.note(Duration::from_secs(second), second * 1000));
        headway.note(Duration::from_secs(10), 5);
        assert_eq!(headway.per_second(Duration::from_secs(10)), None);
        headway.note(Duration::from_secs(11), 10);
        assert_eq!(headway.per_second(Duration::from_secs(11)), Some(5.0));
        headway.pause();
        assert_eq!(headway.per_second(Duration::from_secs(11)), None);
    }

    #[test]
    fn no_figure_is_nonsense() {
        let mut noise = Noise(3);
        for _ in 0..200 {
            let (mut headway, mut now, mut amount) = (Headway::default(), 0, 0_u64);
            for _ in 0..50 {
                now += (noise.next() * 40_000.0) as u64 * u64::from(noise.next() < 0.8);
                let step = (noise.next() * 1e18) as u64 >> (noise.next() * 60.0) as u32;
                amount = if noise.next() < 0.1 { 0 } else { amount.saturating_add(step) };
                headway.note(millis(now), amount);
                let later = millis(now + (noise.next() * 70_000.0) as u64);
                assert!(headway.per_second(later).is_none_or(|rate| rate.is_finite() && rate > 0.0));
                headway.left(later, u64::MAX);
            }
        }
    }
}
