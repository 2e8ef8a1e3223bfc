//! What is kept of a tile's embedding while a slide is played: all of it, some of its taps, or some patch tokens of one. A
//! tile has some two hundred tokens, so those that nobody wants must not pile up.

use std::ops::Range;

use coverslip_numerics::Draw;

/// What is kept of each tile's embedding.
#[derive(Clone, Debug, Default)]
pub(crate) enum Kept {
    #[default]
    All,
    /// Some taps, by their places in the embedding.
    Taps(Vec<Range<usize>>),
    Tokens(TokenDraw),
}

/// Patch tokens of a tap, drawn at random for each tile.
#[derive(Clone, Debug)]
pub(crate) struct TokenDraw {
    /// Where the tap begins in the embedding.
    pub(crate) start: usize,
    /// Of a token.
    pub(crate) width: usize,
    /// Of a tile.
    pub(crate) patches: usize,
    /// At most.
    pub(crate) per_tile: usize,
    /// The slide's own.
    pub(crate) draw: Draw,
}

impl Kept {
    /// Values that are kept of an embedding of `all`.
    pub(crate) fn width(&self, all: usize) -> usize {
        match self {
            Kept::All => all,
            Kept::Taps(places) => places.iter().map(Range::len).sum(),
            Kept::Tokens(tokens) => tokens.per_tile.min(tokens.patches) * tokens.width,
        }
    }

    /// Appends what is kept of the tile in this column and row.
    pub(super) fn push(&self, (column, row): (i32, i32), embedding: &[f32], to: &mut Vec<f32>) {
        match self {
            Kept::All => to.extend_from_slice(embedding),
            // A tile that ended without an embedding.
            _ if embedding.is_empty() => {}
            Kept::Taps(places) => places.iter().for_each(|place| to.extend_from_slice(&embedding[place.clone()])),
            Kept::Tokens(tokens) => {
                for patch in tokens.of_tile(column, row) {
                    let first = tokens.start + patch * tokens.width;
                    to.extend_from_slice(&embedding[first..first + tokens.width]);
                }
            }
        }
    }
}

impl TokenDraw {
    /// The patches of the tile in this column and row that are kept, in order. The same place gives the same ones.
    pub(crate) fn of_tile(&self, column: i32, row: i32) -> Vec<usize> {
        let draw = self.draw.of(u64::from(column.cast_unsigned())).of(u64::from(row.cast_unsigned()));
        let (mut chosen, most) = (Vec::new(), self.per_tile.min(self.patches));
        for patch in 0..self.patches {
            // Selection sampling (Knuth 3.4.2, S): what is wanted of what is left.
            let left = (self.patches - patch) as u64;
            if draw.of(patch as u64).below(left) < (most - chosen.len()) as u64 {
                chosen.push(patch);
            }
        }
        chosen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(per_tile: usize) -> TokenDraw {
        TokenDraw { start: 3, width: 2, patches: 9, per_tile, draw: Draw::new(5) }
    }

    #[test]
    fn every_patch_has_the_same_chance_and_no_tile_the_patches_of_all() {
        let mut counts = [0; 9];
        for tile in 0..900 {
            let chosen = tokens(4).of_tile(tile % 30, tile / 30);
            assert!(chosen.len() == 4 && chosen.is_sorted_by(|a, b| a < b), "{chosen:?}");
            chosen.iter().for_each(|patch| counts[*patch] += 1);
        }
        // 400 each, with a standard deviation of 15.
        assert!(counts.iter().all(|count| (340..=460).contains(count)), "{counts:?}");
        assert_eq!(tokens(4).of_tile(2, 7), tokens(4).of_tile(2, 7));
        assert_eq!(tokens(50).of_tile(0, 0), (0..9).collect::<Vec<_>>());
    }

    #[test]
    fn what_is_kept_is_what_lies_there() {
        let embedding: Vec<f32> = (0..21).map(|value| value as f32).collect();
        let kept = |kept: &Kept, embedding: &[f32]| {
            let mut to = Vec::new();
            kept.push((1, 2), embedding, &mut to);
            assert!(embedding.is_empty() || to.len() == kept.width(embedding.len()));
            to
        };
        assert_eq!(kept(&Kept::All, &embedding), embedding);
        assert_eq!(kept(&Kept::Taps(vec![0..2, 20..21]), &embedding), [0.0, 1.0, 20.0]);
        let expected: Vec<f32> =
            tokens(3).of_tile(1, 2).iter().flat_map(|p| [3 + 2 * p, 4 + 2 * p].map(|v| v as f32)).collect();
        assert_eq!(kept(&Kept::Tokens(tokens(3)), &embedding), expected);
        assert!(kept(&Kept::Tokens(tokens(3)), &[]).is_empty());
    }
}
