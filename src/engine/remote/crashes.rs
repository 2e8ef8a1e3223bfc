//! How often workers have ended by themselves, and what that means for the next.

use std::time::{Duration, Instant};

/// Crashes within [`WINDOW`] that end the engine.
pub(super) const MOST: usize = 3;
const WINDOW: Duration = Duration::from_secs(60);
/// Crashes that are kept, which are more than [`MOST`]: the room for them is taken once.
const KEPT: usize = 32;
/// The pause before a worker is started again, after the second crash within the window and for each more.
const PAUSE: Duration = Duration::from_millis(250);

/// The crashes that count, by the worker's number. One that a tile is to blame for is taken out again.
pub(super) struct Crashes {
    counted: Vec<(u64, Instant)>,
    /// The last worker for whose end a tile was to blame. A lane may see that end only now.
    forgiven: u64,
}

impl Default for Crashes {
    fn default() -> Crashes {
        Crashes { counted: Vec::with_capacity(KEPT), forgiven: 0 }
    }
}

impl Crashes {
    /// The worker of this number has crashed. Lanes that saw the same crash count it once.
    pub(super) fn add(&mut self, worker: u64, now: Instant) {
        self.counted.retain(|(_, at)| now.saturating_duration_since(*at) < WINDOW);
        let counts = worker > self.forgiven && self.counted.iter().all(|(known, _)| *known != worker);
        if counts && self.counted.len() < KEPT {
            self.counted.push((worker, now));
        }
    }

    /// A tile was to blame for the end of these workers.
    pub(super) fn forgive(&mut self, workers: &[u64]) {
        self.counted.retain(|(worker, _)| !workers.contains(worker));
        self.forgiven = workers.iter().copied().fold(self.forgiven, u64::max);
    }

    /// Crashes within the window.
    pub(super) fn recent(&self, now: Instant) -> usize {
        self.counted.iter().filter(|(_, at)| now.saturating_duration_since(*at) < WINDOW).count()
    }

    /// How long to wait before the next start.
    pub(super) fn pause(&self, now: Instant) -> Duration {
        PAUSE * self.recent(now).saturating_sub(1).min(MOST) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crashes_count_once_for_a_minute_and_not_where_a_tile_is_to_blame() {
        let (mut crashes, start) = (Crashes::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        crashes.add(1, at(0));
        crashes.add(1, at(1));
        assert_eq!((crashes.recent(at(1)), crashes.pause(at(1))), (1, Duration::ZERO));
        crashes.add(2, at(20));
        crashes.add(3, at(59));
        assert_eq!((crashes.recent(at(59)), crashes.pause(at(59))), (MOST, 2 * PAUSE));
        assert_eq!(crashes.recent(at(60)), 2, "the first was a minute ago");
        crashes.forgive(&[3]);
        crashes.add(3, at(60));
        assert_eq!(crashes.recent(at(60)), 1, "nor by a lane that sees it later");
        crashes.add(4, at(61));
        assert_eq!(crashes.recent(at(61)), 2);
    }
}
