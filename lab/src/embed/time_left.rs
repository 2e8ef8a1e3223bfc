//! The line that says how much of the inputs is embedded, and how long the rest takes.

use std::time::Instant;

use crate::play::{Progress, Watch};
use crate::term::{Line, bar, clock};

/// The line, and what it is computed from.
pub(super) struct TimeLeft {
    line: Line,
    begun: Instant,
    inputs: usize,
    /// Inputs that are done.
    done: usize,
    /// Tiles of the inputs that are done, and of earlier runs.
    tiles: usize,
}

impl TimeLeft {
    /// `inputs` are left to do; `tiles` are those of an earlier run.
    pub(super) fn new(inputs: usize, tiles: usize) -> TimeLeft {
        TimeLeft { line: Line::new(), begun: Instant::now(), inputs, done: 0, tiles }
    }

    /// One more input is done; there are `tiles` in all now.
    pub(super) fn input_done(&mut self, tiles: usize) {
        self.done += 1;
        self.tiles = tiles;
    }

    pub(super) fn clear(&mut self) {
        self.line.clear();
    }
}

impl Watch for TimeLeft {
    fn progress(&mut self, slide: &Progress) {
        // Every frame is a tile.
        let of_input = slide.tiles as f64 / slide.all_frames.max(1) as f64;
        let part = ((self.done as f64 + of_input) / self.inputs.max(1) as f64).clamp(0.0, 1.0);
        let elapsed = self.begun.elapsed().as_secs_f64();
        let left = if part > 0.0 { clock(elapsed / part * (1.0 - part)) } else { "--:--".into() };
        self.line.show(&format!("{} | {} tiles | {left} left | Ctrl-C stops", bar(part), self.tiles + slide.tiles));
    }
}
