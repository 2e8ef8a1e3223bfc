//! The light of the generated slide, which drifts towards its right end.

/// 28 tiles of 224 px.
pub(super) const WIDTH: u32 = 6272;
/// From here to the right end the light drifts linearly.
pub(super) const DRIFT_FROM: u32 = 4704;
/// What the channels are multiplied with at the right end.
pub(super) const DRIFT_GAINS: [f64; 3] = [1.0, 0.975, 0.93];

/// The gains of the light at column `x`.
pub(super) fn light(x: i32) -> [f32; 3] {
    let share = (x as f32 - DRIFT_FROM as f32) / (WIDTH - DRIFT_FROM) as f32;
    DRIFT_GAINS.map(|gain| 1.0 + (gain as f32 - 1.0) * share.clamp(0.0, 1.0))
}
