//! What is known about a slide at one moment: the snapshot that `slide_summary` reads.
//!
//! One short lock guards it. Whoever changes it holds the lock for a few additions, and whoever reads it copies it, so
//! that `opened = Σ results + in flight` holds in every copy. The assembler publishes what a frame opens before any of
//! its tiles leaves, the judge counts a result before the outbox has it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use coverslip_plugin_abi::TileResult;

use super::latency::Latencies;
use crate::tiles::assembler::IntakeCounts;

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

/// One moment of a slide.
#[derive(Clone, Copy, Default)]
pub(crate) struct Counts {
    pub(crate) intake: IntakeCounts,
    /// By `COVERSLIP_TILE_*`; `[0]` is their sum.
    pub(crate) results: [u64; 8],
    /// Results that the host has taken.
    pub(crate) polled: u64,
    pub(crate) alerts: u64,
    /// Tiles by flag bit.
    pub(crate) flags_checked: [u64; 16],
    pub(crate) flags_raised: [u64; 16],
    /// Of analysed tiles.
    pub(crate) latencies: Latencies,
    pub(crate) scanner: ScannerVerdict,
}

impl Counts {
    /// Tiles that are opened and have no result.
    pub(crate) fn in_flight(&self) -> u64 {
        self.intake.opened - self.results[0]
    }

    /// Results that wait for the host.
    pub(crate) fn unpolled(&self) -> u64 {
        self.results[0] - self.polled
    }

    /// Counts one tile's result.
    pub(crate) fn add(&mut self, record: &TileResult) {
        self.results[0] += 1;
        self.results[record.status as usize] += 1;
        for bit in 0..16 {
            self.flags_checked[bit] += u64::from(record.flags_checked >> bit & 1);
            self.flags_raised[bit] += u64::from(record.flags_raised >> bit & 1);
        }
        if record.status == coverslip_plugin_abi::TILE_DONE {
            self.latencies.add(record.latency_ns);
        }
    }
}

/// The counts, shared.
#[derive(Default)]
pub(crate) struct Published(Mutex<Counts>);

impl Published {
    /// Nobody does more under this lock than to add, to compare or to copy: `submit` waits for it.
    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All counts of one moment.
    pub(crate) fn snapshot(&self) -> Counts {
        *self.lock()
    }

    pub(crate) fn in_flight(&self) -> u64 {
        self.lock().in_flight()
    }

    /// Frames refused so far.
    pub(crate) fn refused(&self) -> u64 {
        self.lock().intake.frames_refused
    }

    /// Replaces what the assembler counts.
    pub(super) fn set_intake(&self, intake: &IntakeCounts) {
        self.lock().intake = *intake;
    }

    /// Counts results that the host has taken.
    pub(super) fn add_polled(&self, count: u64) {
        self.lock().polled += count;
    }

    pub(super) fn add_result(&self, record: &TileResult) {
        self.lock().add(record);
    }

    pub(super) fn add_alert(&self) {
        self.lock().alerts += 1;
    }

    pub(crate) fn set_scanner(&self, verdict: ScannerVerdict) {
        self.lock().scanner = verdict;
    }
}
