//! What is known about a slide at one moment: the snapshot that `slide_summary` reads.
//!
//! The assembler publishes what a frame opens before any of its tiles leaves, the judge counts a result before the outbox
//! has it. Whoever wants both holds both locks while it copies, so that `opened = Σ results + in flight` holds in every
//! copy. `submit` takes the assembler's lock alone. Whoever else takes it copies some numbers, and while the slide is open
//! the judge does not take it: it runs below the host's priority.

use coverslip_plugin_abi::TileResult;

use super::latency::Latencies;
use crate::tiles::assembler::IntakeCounts;
use coverslip_base::sync::{AtomicU64, Mutex, MutexGuard, Ordering, PoisonError};

/// Whether the slide as a whole looks like one of its scanner's slides.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) enum ScannerVerdict {
    /// The slide is not over, has too few tiles or calibration slides, or no profile.
    #[default]
    Unknown,
    /// The p-value is above the level.
    Matches(f64),
    /// The p-value is not above the level.
    Mismatch(f64),
}

/// Whether the slide looks like slides of any scanner of the profile.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) enum NoveltyVerdict {
    /// As [`ScannerVerdict::Unknown`].
    #[default]
    Unknown,
    /// Of at least one; its p-value.
    Known(f64),
    /// Of none; the highest p-value.
    None(f64),
}

/// What the judge counts, and what the host has taken of it.
#[derive(Clone, Copy, Default)]
pub(crate) struct Judged {
    /// By `COVERSLIP_TILE_*`; `[0]` is their sum.
    pub(crate) results: [u64; 8],
    /// Results that the host has taken.
    polled: u64,
    pub(crate) alerts: u64,
    /// Tiles that were run again on another worker.
    pub(crate) retried: u64,
    /// Workers that were started again.
    pub(crate) restarts: u64,
    /// Tiles by flag bit.
    pub(crate) flags_checked: [u64; 16],
    pub(crate) flags_raised: [u64; 16],
    /// Of analysed tiles.
    pub(crate) latencies: Latencies,
    pub(crate) scanner: ScannerVerdict,
    pub(crate) novelty: NoveltyVerdict,
    /// Refused tiles by the `COVERSLIP_CHANNEL_*` that never came; `[0]`: their tiles.
    pub(crate) channel_refused: [u64; 4],
}

impl Judged {
    fn add(&mut self, record: &TileResult) {
        self.results[0] += 1;
        self.results[record.status as usize] += 1;
        for bit in 0..16 {
            self.flags_checked[bit] += u64::from(record.flags_checked >> bit & 1);
            self.flags_raised[bit] += u64::from(record.flags_raised >> bit & 1);
        }
        self.channel_refused[0] += u64::from(record.channels_missing != 0);
        for channel in 1..4 {
            self.channel_refused[channel] += u64::from(record.channels_missing >> channel & 1);
        }
        if record.status == coverslip_plugin_abi::TILE_DONE {
            self.latencies.add(record.latency_ns);
        }
    }
}

/// One moment of a slide.
#[derive(Clone, Copy)]
pub(crate) struct Counts {
    pub(crate) intake: IntakeCounts,
    pub(crate) judged: Judged,
}

impl Counts {
    /// Tiles that are opened and have no result.
    pub(crate) fn in_flight(&self) -> u64 {
        self.intake.opened - self.judged.results[0]
    }

    /// Results that wait for the host.
    pub(crate) fn unpolled(&self) -> u64 {
        self.judged.results[0] - self.judged.polled
    }
}

/// The counts, shared.
#[derive(Default)]
pub(crate) struct Published {
    // Locked in this order where both are.
    judged: Mutex<Judged>,
    intake: Mutex<IntakeCounts>,
    /// `frames_refused` of `intake`, which the judge compares at every look.
    refused: AtomicU64,
}

impl Published {
    fn judged(&self) -> MutexGuard<'_, Judged> {
        self.judged.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn intake(&self) -> MutexGuard<'_, IntakeCounts> {
        self.intake.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All counts of one moment.
    pub(crate) fn snapshot(&self) -> Counts {
        let held = self.judged();
        let judged = *held;
        let intake = *self.intake();
        Counts { intake, judged }
    }

    /// Tiles that are opened and have no result.
    pub(crate) fn in_flight(&self) -> u64 {
        let judged = self.judged();
        let opened = self.intake().opened;
        opened - judged.results[0]
    }

    /// Frames refused so far.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Acquire)
    }

    /// Replaces what the assembler counts.
    pub(super) fn set_intake(&self, counts: &IntakeCounts) {
        *self.intake() = *counts;
        self.refused.store(counts.frames_refused, Ordering::Release);
    }

    pub(super) fn add_result(&self, record: &TileResult) {
        self.judged().add(record);
    }

    /// Counts results that the host has taken.
    pub(super) fn add_polled(&self, count: u64) {
        self.judged().polled += count;
    }

    pub(super) fn add_alert(&self) {
        self.judged().alerts += 1;
    }

    pub(crate) fn add_retried(&self, retried: bool) {
        if retried {
            self.judged().retried += 1;
        }
    }

    pub(crate) fn add_restarts(&self, count: u64) {
        self.judged().restarts += count;
    }

    pub(crate) fn set_verdicts(&self, scanner: ScannerVerdict, novelty: NoveltyVerdict) {
        let mut judged = self.judged();
        (judged.scanner, judged.novelty) = (scanner, novelty);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use super::*;

    #[test]
    fn refusals_are_asked_for_without_the_lock_that_submit_takes() {
        let published = Arc::new(Published::default());
        published.set_intake(&IntakeCounts { frames_refused: 3, ..IntakeCounts::default() });
        let held = published.intake();
        let (tell, told) = channel();
        let judge = published.clone();
        std::thread::spawn(move || tell.send(judge.refused()));
        assert_eq!(told.recv_timeout(Duration::from_secs(10)), Ok(3));
        drop(held);
    }
}

#[cfg(loom)]
#[cfg(test)]
mod models {
    use super::*;
    use crate::every_order::every_order;
    use coverslip_base::sync::{Arc, thread};

    fn opened(count: u64) -> IntakeCounts {
        IntakeCounts { opened: count, ..IntakeCounts::default() }
    }

    /// `in_flight` would go below zero, which panics.
    #[test]
    fn no_copy_has_more_results_than_tiles() {
        every_order(None, || {
            let published = Arc::new(Published::default());
            let tiles = thread::spawn({
                let published = published.clone();
                move || {
                    for count in 1..=2 {
                        published.set_intake(&opened(count));
                        published.add_result(&TileResult { status: 1, ..TileResult::default() });
                    }
                }
            });
            let counts = published.snapshot();
            assert_eq!(counts.intake.opened, counts.judged.results[0] + counts.in_flight());
            assert!(published.in_flight() <= 1);
            tiles.join().unwrap();
            assert_eq!(published.in_flight(), 0);
        });
    }

    #[test]
    fn a_refusal_that_is_counted_is_seen_by_whoever_saw_the_number() {
        every_order(None, || {
            let published = Arc::new(Published::default());
            let submit = thread::spawn({
                let published = published.clone();
                move || published.set_intake(&IntakeCounts { frames_refused: 1, opened: 1, ..IntakeCounts::default() })
            });
            if published.refused() == 1 {
                assert_eq!(published.snapshot().intake.opened, 1);
            }
            submit.join().unwrap();
            assert_eq!(published.refused(), 1);
        });
    }
}
