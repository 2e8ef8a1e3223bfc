//! What a tile is shown as: its most serious flag, or how it ended.

use coverslip_plugin_abi as abi;

/// A name and a colour for tiles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Class {
    pub(super) name: &'static str,
    pub(super) color: [u8; 3],
    /// True where the tile deserves a look.
    pub(super) striking: bool,
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

/// The class of a tile. A tile that ended without an analysis is shown by its status. Else its most serious raised flag
/// counts, also the exposure of a background tile: overexposed tissue must not pass as glass.
pub(super) fn class_of(tile: &abi::TileResult) -> Class {
    if tile.status != abi::TILE_DONE && tile.status != abi::TILE_BACKGROUND {
        let index = usize::try_from(tile.status - abi::TILE_INCOMPLETE).unwrap_or(usize::MAX);
        return BY_STATUS.get(index).copied().unwrap_or(BY_STATUS[4]);
    }
    let raised = BY_FLAG.iter().find(|(bit, _)| tile.flags_raised & bit != 0).map(|(_, class)| *class);
    raised.unwrap_or(if tile.status == abi::TILE_BACKGROUND { BACKGROUND } else { OK })
}

/// Every class, in the order of a legend.
pub(super) fn all_classes() -> impl Iterator<Item = Class> {
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
    }
}
