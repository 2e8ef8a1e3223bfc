//! Watching a slide while it is played.

use std::time::Instant;

use coverslip_plugin_abi as abi;
use coverslip_plugin_abi::names::{alert_name, precision_name};

use crate::term::{Line, decimals};

/// How far a slide has come.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Progress {
    /// Frames that the plugin took.
    pub(crate) frames: usize,
    /// Frames of the whole slide.
    pub(crate) all_frames: usize,
    /// Results that came.
    pub(crate) tiles: usize,
    /// Tiles in the plugin.
    pub(crate) in_flight: u64,
    pub(crate) alerts: usize,
    /// Whether the slide is being cancelled.
    pub(crate) stopping: bool,
}

/// Is told what happens while a slide is played, on the caller's thread.
pub(crate) trait Watch {
    fn alert(&mut self, _alert: &abi::Alert) {}

    fn progress(&mut self, progress: &Progress);

    /// The slide is over.
    fn end(&mut self) {}
}

/// Shows progress on a status line.
pub(crate) struct StatusLine {
    line: Line,
    begun: Instant,
    tell_alerts: bool,
}

impl StatusLine {
    /// `tell_alerts`: print each alert when it comes.
    pub(crate) fn new(tell_alerts: bool) -> StatusLine {
        StatusLine { line: Line::new(), begun: Instant::now(), tell_alerts }
    }
}

impl Watch for StatusLine {
    fn alert(&mut self, alert: &abi::Alert) {
        if self.tell_alerts {
            self.line.say(&alert_line(alert));
        }
    }

    fn progress(&mut self, progress: &Progress) {
        self.line.show(&format!(
            "{:3} % | {:6} tiles | {:6.1} tiles/s | queue {:5} | alerts {} | {}",
            progress.frames * 100 / progress.all_frames.max(1),
            progress.tiles,
            progress.tiles as f64 / self.begun.elapsed().as_secs_f64().max(1e-3),
            progress.in_flight,
            progress.alerts,
            if progress.stopping { "stopping" } else { "Ctrl-C stops" },
        ));
    }

    fn end(&mut self) {
        self.line.clear();
    }
}

/// An alert in one line: what, where, how strong.
pub(crate) fn alert_line(alert: &abi::Alert) -> String {
    let place = match alert.width {
        0 => "whole slide".to_owned(),
        width => format!("x {}..{} y {}..{}", alert.x, alert.x + width as i64, alert.y, alert.y + alert.height as i64),
    };
    let strength = match alert.code {
        abi::ALERT_LAGGING => format!(", {:.1} s against {:.1} s", alert.strength * 1e-9, alert.threshold * 1e-9),
        abi::ALERT_ENGINE_FALLBACK => String::new(),
        abi::ALERT_PROFILE_PRECISION => format!(
            ", the profile was calibrated in {}, the engine runs in {}",
            precision_name(alert.strength as i32),
            precision_name(alert.threshold as i32)
        ),
        abi::ALERT_SCANNER_MISMATCH => format!(
            ", {} against {}, along the directions in which the profile's scanners differ",
            decimals(alert.strength),
            decimals(alert.threshold)
        ),
        _ => format!(", {} against {}", decimals(alert.strength), decimals(alert.threshold)),
    };
    format!("alert {}: {place}{strength}", alert_name(alert.code))
}
