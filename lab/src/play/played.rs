//! A slide that was played: results, alerts, counts.

use coverslip_plugin_abi as abi;
use serde::Serialize;

use super::collect::Collected;
use crate::host::HostError;

/// What the submitting thread counted.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Submission {
    pub(crate) frames: u64,
    /// Answers BUSY, also to frames that were taken later.
    pub(crate) busy: u64,
    /// Frames that were held back and taken later.
    pub(crate) taken_late: u64,
    /// Frames that were given up.
    pub(crate) lost: u64,
    /// The longest time in one submit call that does not wait.
    pub(crate) longest_submit_us: u64,
}

/// What is known when the slide is over.
pub(crate) struct Played {
    pub(crate) collected: Collected,
    pub(crate) alerts: Vec<abi::Alert>,
    /// For each alert, the number of results that had come before it was taken.
    pub(crate) seen_at_alert: Vec<usize>,
    pub(crate) summary: abi::SlideSummary,
    /// The library's own report of the slide.
    pub(crate) report: serde_json::Value,
    pub(crate) stats: abi::RuntimeStats,
    pub(crate) submission: Submission,
    /// Width and height of what was scanned, px.
    pub(crate) extent: (u32, u32),
    /// Width and height of the largest frame, px.
    pub(crate) frame_size: (u32, u32),
    pub(crate) planned_frames: usize,
    /// Pixels of the extent that the file does not have: tiles that were left out, or wholly transparent ones.
    pub(crate) unscanned_pixels: u64,
    pub(crate) seconds: f64,
    /// The plugin's first error, which ended the submission.
    pub(crate) error: Option<HostError>,
}

impl Played {
    /// Checks that every tile which the library opened has ended in exactly one result, and that all results came here.
    ///
    /// # Errors
    /// Says which counts disagree.
    pub(crate) fn conservation(&self) -> Result<(), String> {
        let summary = &self.summary;
        let received = self.collected.tiles.len() as u64;
        let by_status: u64 = summary.results[1..].iter().sum();
        let twice = self.collected.duplicates();
        let whole = summary.opened == summary.results[0]
            && summary.results[0] == by_status
            && by_status == received
            && summary.in_flight == 0
            && summary.unpolled == 0
            && twice == 0;
        if whole {
            return Ok(());
        }
        Err(format!(
            "tiles are not accounted for: expected every opened tile in one result; found {} opened, {} ended \
             ({by_status} by status), {} in flight, {} not polled, {received} received, {twice} of them twice. This is \
             a defect of the library: report it with slide.json",
            summary.opened, summary.results[0], summary.in_flight, summary.unpolled
        ))
    }
}
