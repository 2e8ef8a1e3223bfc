//! What the contract's numbers are called in reports, files and messages.

use crate::constants::*;

/// Statuses by number, from 1.
pub const STATUSES: [&str; 7] = ["done", "background", "incomplete", "refused", "expired", "cancelled", "failed"];

/// Flags by bit.
pub const FLAGS: [&str; FLAG_COUNT] = [
    "background",
    "out_of_focus",
    "underexposed",
    "overexposed",
    "color_shift",
    "banding",
    "foreign",
    "novel",
    "scanner_shift",
    "scanner_features",
    "features_unreliable",
    "unstable",
];

/// Alerts by code, from 1.
const ALERTS: [&str; 12] = [
    "focus_loss",
    "color_drift",
    "embedding_drift",
    "scanner_mismatch",
    "banding",
    "lagging",
    "overrun",
    "engine_fallback",
    "unknown_scanner",
    "worker_restarted",
    "profile_precision",
    "scanner_drift",
];

fn numbered(names: &'static [&'static str], number: i32) -> &'static str {
    usize::try_from(number)
        .ok()
        .and_then(|number| number.checked_sub(1))
        .and_then(|index| names.get(index))
        .copied()
        .unwrap_or("unknown")
}

/// `COVERSLIP_TILE_*`.
pub fn status_name(status: i32) -> &'static str {
    numbered(&STATUSES, status)
}

/// `COVERSLIP_ALERT_*`.
pub fn alert_name(code: i32) -> &'static str {
    numbered(&ALERTS, code)
}

/// `COVERSLIP_PRECISION_*`.
pub fn precision_name(precision: i32) -> &'static str {
    match precision {
        PRECISION_FLOAT32 => "float32",
        PRECISION_FLOAT16 => "float16",
        PRECISION_BFLOAT16 => "bfloat16",
        PRECISION_INT8 => "int8",
        _ => "another precision",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_their_names() {
        assert_eq!((status_name(TILE_FAILED), status_name(0)), ("failed", "unknown"));
        assert_eq!((alert_name(ALERT_OVERRUN), alert_name(ALERT_SCANNER_DRIFT)), ("overrun", "scanner_drift"));
        assert_eq!((alert_name(0), alert_name(i32::MIN + 1), alert_name(i32::MAX)), ("unknown", "unknown", "unknown"));
        assert_eq!(precision_name(PRECISION_INT8), "int8");
    }
}
