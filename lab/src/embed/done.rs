//! What came of embedding: tiles to write, and counts of what was left out.

use super::grid::Field;
use crate::embeddings::TileRecord;

/// What came of one input, or of all.
#[derive(Debug, Default)]
pub(super) struct Done {
    pub(super) records: Vec<TileRecord>,
    /// Tiles without tissue.
    pub(super) background: usize,
    /// Inputs smaller than a tile.
    pub(super) too_small: usize,
    /// Tiles of which the scanner scanned too little.
    pub(super) unscanned: usize,
}

impl Done {
    /// Adds the counts of another, not its tiles.
    pub(super) fn add(&mut self, other: &Done) {
        self.background += other.background;
        self.too_small += other.too_small;
        self.unscanned += other.unscanned;
    }

    pub(super) fn left_out(&self) -> String {
        let unscanned = match self.unscanned {
            0 => String::new(),
            tiles => format!(", {tiles} mostly not scanned"),
        };
        format!(
            "left out: {} without tissue, {} inputs smaller than a tile{unscanned}",
            self.background, self.too_small
        )
    }

    /// Says why there is not one tile.
    pub(super) fn nothing(&self, field: Field) -> String {
        let mut advice = vec![format!("expected at least one tile, found none ({})", self.left_out())];
        if self.background > 0 {
            advice.push("--background embeds tiles without tissue too".into());
        }
        if self.too_small > 0 && field == Field::Grid {
            advice.push("--field tile takes each image as one tile, whatever it shows".into());
        }
        advice.join("; ")
    }
}
