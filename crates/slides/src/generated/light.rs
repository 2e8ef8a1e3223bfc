//! The light of the generated slide, which drifts towards the right end.

/// Width of the slide, px: 28 tiles of 224 px.
pub(super) const WIDTH: u32 = 6272;
/// Column from which the light drifts linearly to the right end.
pub(super) const DRIFT_FROM: u32 = 4704;
/// Gains of the channels at the right end.
pub(super) const DRIFT_GAINS: [f64; 3] = [1.0, 0.975, 0.93];

/// Gains of the channels at column `x`.
pub(super) fn light(x: i32) -> [f32; 3] {
    let share = (x as f32 - DRIFT_FROM as f32) / (WIDTH - DRIFT_FROM) as f32;
    DRIFT_GAINS.map(|gain| 1.0 + (gain as f32 - 1.0) * share.clamp(0.0, 1.0))
}
