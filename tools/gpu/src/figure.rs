//! How a figure is measured.

use std::time::{Duration, Instant};

use crate::outcome::Outcome;

/// Repeats `begin` until the time is over, and waits after every few; seconds per repetition.
///
/// # Errors
/// The first that a call gives.
pub(crate) fn seconds(
    time: Duration,
    mut begin: impl FnMut() -> Outcome,
    mut wait: impl FnMut() -> Outcome,
) -> Outcome<f64> {
    (0..3).try_for_each(|_| begin())?;
    wait()?;
    let (start, mut times) = (Instant::now(), 0);
    while times == 0 || start.elapsed() < time {
        (0..8).try_for_each(|_| begin())?;
        wait()?;
        times += 8;
    }
    Ok(start.elapsed().as_secs_f64() / f64::from(times))
}

/// The value that `share` of them are at most; sorts them.
pub(crate) fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let at = (share * values.len() as f64).ceil() as usize;
    values.get(at.clamp(1, values.len().max(1)) - 1).copied().unwrap_or(f64::NAN)
}
