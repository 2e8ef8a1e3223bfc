//! What the contract's numbers are called in files, pictures and messages.

use coverslip_plugin_abi as abi;

/// Statuses by number, from 1.
pub(crate) const STATUSES: [&str; 7] =
    ["done", "background", "incomplete", "refused", "expired", "cancelled", "failed"];

/// Flags by bit.
pub(crate) const FLAGS: [&str; abi::FLAG_COUNT] = [
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

/// Alerts about what runs the model, not about the slide: it is another engine, a new process, or not at the precision of
/// the profile.
pub(crate) const ALERTS_OF_ENGINE: [i32; 3] =
    [abi::ALERT_ENGINE_FALLBACK, abi::ALERT_WORKER_RESTARTED, abi::ALERT_PROFILE_PRECISION];

/// Alerts about the slide, the most urgent first.
pub(crate) const ALERTS_BY_URGENCY: [i32; 9] = [
    abi::ALERT_FOCUS_LOSS,
    abi::ALERT_OVERRUN,
    abi::ALERT_SCANNER_MISMATCH,
    abi::ALERT_SCANNER_DRIFT,
    abi::ALERT_COLOR_DRIFT,
    abi::ALERT_BANDING,
    abi::ALERT_EMBEDDING_DRIFT,
    abi::ALERT_LAGGING,
    abi::ALERT_UNKNOWN_SCANNER,
];

fn numbered(names: &'static [&'static str], number: i32) -> &'static str {
    usize::try_from(number - 1).ok().and_then(|index| names.get(index)).copied().unwrap_or("unknown")
}

pub(crate) fn status_name(status: i32) -> &'static str {
    numbered(&STATUSES, status)
}

pub(crate) fn alert_name(code: i32) -> &'static str {
    numbered(&ALERTS, code)
}

/// `COVERSLIP_PRECISION_*`.
pub(crate) fn precision_name(precision: i32) -> &'static str {
    match precision {
        abi::PRECISION_FLOAT32 => "float32",
        abi::PRECISION_FLOAT16 => "float16",
        abi::PRECISION_BFLOAT16 => "bfloat16",
        abi::PRECISION_INT8 => "int8",
        _ => "another precision",
    }
}

/// What `runtime_open` is doing.
pub(crate) fn stage_name(stage: i32) -> &'static str {
    match stage {
        abi::STAGE_VERIFY => "verifying the bundle",
        abi::STAGE_COMPOSE => "composing the graph",
        abi::STAGE_ENGINE => "preparing the engine",
        _ => "checking the engine",
    }
}

/// A code's name in the header, without its prefix.
pub(super) fn code_name(code: i32) -> &'static str {
    const NAMES: [&str; 27] = [
        "OK",
        "INVALID_ARGUMENT",
        "INVALID_STRUCT",
        "INVALID_HANDLE",
        "WRONG_STATE",
        "ABI_MISMATCH",
        "UNSUPPORTED",
        "UNSUPPORTED_FORMAT",
        "OUT_OF_MEMORY",
        "LIMIT_REACHED",
        "BUSY",
        "FRAME_TOO_LARGE",
        "OUT_OF_EXTENT",
        "TIMEOUT",
        "INTERRUPTED",
        "CANCELLED",
        "END_OF_RESULTS",
        "BUFFER_TOO_SMALL",
        "IO",
        "BUNDLE_INVALID",
        "BUNDLE_UNSUPPORTED",
        "DIGEST_MISMATCH",
        "ENGINE_UNAVAILABLE",
        "SELF_CHECK_FAILED",
        "ENGINE_HUNG",
        "INTERNAL",
        "SIGNATURE_INVALID",
    ];
    usize::try_from(code).ok().and_then(|code| NAMES.get(code)).copied().unwrap_or("unknown code")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_their_names() {
        assert_eq!(status_name(abi::TILE_FAILED), "failed");
        assert_eq!(alert_name(abi::ALERT_OVERRUN), "overrun");
        assert_eq!(alert_name(0), "unknown");
        assert_eq!((code_name(abi::OK), code_name(abi::INTERNAL)), ("OK", "INTERNAL"));
    }
}
