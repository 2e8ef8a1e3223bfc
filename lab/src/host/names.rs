//! What the contract's numbers are called in files and pictures, and how serious they are.

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
pub(crate) const ALERTS: [&str; 9] = [
    "focus_loss",
    "color_drift",
    "embedding_drift",
    "scanner_mismatch",
    "banding",
    "lagging",
    "overrun",
    "engine_fallback",
    "unknown_scanner",
];

/// Alerts about the slide, the most urgent first.
pub(crate) const ALERTS_BY_URGENCY: [i32; 8] = [
    abi::ALERT_FOCUS_LOSS,
    abi::ALERT_OVERRUN,
    abi::ALERT_SCANNER_MISMATCH,
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

/// What `runtime_open` is doing.
pub(super) fn stage_name(stage: i32) -> &'static str {
    match stage {
        abi::STAGE_VERIFY => "verifying the bundle",
        abi::STAGE_COMPOSE => "composing the graph",
        abi::STAGE_ENGINE => "preparing the engine",
        _ => "checking the engine",
    }
}

/// What a tile is shown as: its most serious flag, or how it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Class {
    pub(crate) name: &'static str,
    pub(crate) color: [u8; 3],
    /// True where the tile deserves a look.
    pub(crate) striking: bool,
}

const fn class(name: &'static str, color: [u8; 3], striking: bool) -> Class {
    Class { name, color, striking }
}

/// Raised flags from the most serious to the least.
const BY_FLAG: [(u32, Class); 11] = [
    (abi::FLAG_OVEREXPOSED, class("Overexposed", [230, 159, 0], true)),
    (abi::FLAG_UNDEREXPOSED, class("Underexposed", [70, 70, 90], true)),
    (abi::FLAG_OUT_OF_FOCUS, class("Out of focus", [213, 62, 79], true)),
    (abi::FLAG_FOREIGN, class("Foreign", [0, 158, 115], true)),
    (abi::FLAG_BANDING, class("Banding", [166, 86, 40], true)),
    (abi::FLAG_COLOR_SHIFT, class("Color shift", [204, 121, 167], true)),
    (abi::FLAG_SCANNER_SHIFT, class("Scanner shift", [152, 78, 163], true)),
    (abi::FLAG_NOVEL, class("Novel", [0, 114, 178], true)),
    (abi::FLAG_UNSTABLE, class("Unstable", [86, 180, 233], true)),
    (abi::FLAG_SCANNER_FEATURES, class("Scanner features", [117, 112, 179], true)),
    (abi::FLAG_FEATURES_UNRELIABLE, class("Features unreliable", [49, 104, 214], true)),
];

const OK: Class = class("OK", [46, 160, 67], false);
const BACKGROUND: Class = class("Background", [190, 190, 196], false);
const BY_STATUS: [Class; 5] = [
    class("Incomplete", [140, 140, 60], true),
    class("Refused", [120, 60, 20], true),
    class("Expired", [90, 40, 120], true),
    class("Cancelled", [120, 120, 120], true),
    class("Failed", [160, 0, 0], true),
];

/// A tile that ended without an analysis is shown as that; else its most serious raised flag counts, and the
/// exposure of a background tile too (overexposed tissue must not pass as glass).
pub(crate) fn class_of(tile: &abi::TileResult) -> Class {
    if tile.status != abi::TILE_DONE && tile.status != abi::TILE_BACKGROUND {
        let index = usize::try_from(tile.status - abi::TILE_INCOMPLETE).unwrap_or(usize::MAX);
        return BY_STATUS.get(index).copied().unwrap_or(BY_STATUS[4]);
    }
    let raised = BY_FLAG.iter().find(|(bit, _)| tile.flags_raised & bit != 0).map(|(_, class)| *class);
    raised.unwrap_or(if tile.status == abi::TILE_BACKGROUND { BACKGROUND } else { OK })
}

/// Every class, in the order of a legend.
pub(crate) fn all_classes() -> impl Iterator<Item = Class> {
    [OK].into_iter().chain(BY_FLAG.iter().map(|(_, class)| *class)).chain(BY_STATUS).chain([BACKGROUND])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_serious_wins() {
        let tile = |status, flags_raised| abi::TileResult { status, flags_raised, ..Default::default() };
        assert_eq!(class_of(&tile(abi::TILE_DONE, 0)).name, "OK");
        let both = abi::FLAG_FEATURES_UNRELIABLE | abi::FLAG_OUT_OF_FOCUS;
        assert_eq!(class_of(&tile(abi::TILE_DONE, both)).name, "Out of focus");
        assert_eq!(class_of(&tile(abi::TILE_BACKGROUND, abi::FLAG_BACKGROUND)).name, "Background");
        let white = abi::FLAG_BACKGROUND | abi::FLAG_OVEREXPOSED;
        assert_eq!(class_of(&tile(abi::TILE_BACKGROUND, white)).name, "Overexposed");
        assert_eq!(class_of(&tile(abi::TILE_FAILED, both)).name, "Failed");
        assert_eq!(class_of(&tile(99, 0)).name, "Failed");
        assert_eq!(status_name(abi::TILE_FAILED), "failed");
        assert_eq!(alert_name(abi::ALERT_OVERRUN), "overrun");
        assert_eq!(alert_name(0), "unknown");
    }
}
