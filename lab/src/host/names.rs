//! Which alerts are about what, and what only messages name.

use coverslip_plugin_abi as abi;

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
        assert_eq!((code_name(abi::OK), code_name(abi::INTERNAL)), ("OK", "INTERNAL"));
    }
}
