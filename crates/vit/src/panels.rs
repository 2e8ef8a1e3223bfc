//! The right-hand side of a product, packed: panels of a few lines of columns, in each of which the values that one step
//! of the kernel needs stand together.
//!
//! A word is 32 bits: values that follow one another in the sum. A line is 16 columns. A panel of n lines has, word for
//! word along the sum, n lines of words.

use coverslip_bundle::BundleError;
use coverslip_bundle::tensors::{bf16_to_f32, f16_to_f32, f32_to_bf16, f32_to_f16};

use crate::aligned::Aligned;

/// Columns in a line: the float32s of a cache line.
pub(crate) const LINE: usize = 16;

/// Columns that hold `columns` of them in whole lines.
pub(crate) fn padded(columns: usize) -> usize {
    columns.next_multiple_of(LINE)
}

/// What a word holds.
#[allow(dead_code)] // Each architecture's kernels have some of them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Word {
    Float32,
    BFloat16,
    Float16,
    /// int8 of a weight, u8 of a row.
    Int8,
    /// int8 of both: a row's are 128 less than its u8s.
    Int8Signed,
}

impl Word {
    /// Values in a word.
    pub(crate) const fn values(self) -> usize {
        match self {
            Self::Float32 => 1,
            Self::BFloat16 | Self::Float16 => 2,
            Self::Int8 | Self::Int8Signed => 4,
        }
    }
}

/// How a family of kernels wants its operands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Layout {
    pub(crate) word: Word,
    /// Lines of a panel at most.
    pub(crate) lines: usize,
}

impl Layout {
    /// Values in a word.
    pub(crate) fn values(self) -> usize {
        self.word.values()
    }

    /// Words that hold `values` of a row.
    pub(crate) fn words(self, values: usize) -> usize {
        values.div_ceil(self.values())
    }

    /// The word of a row's floats, at most [`Layout::values`] of them; what is missing is 0.
    pub(crate) fn word(self, values: [f32; 2]) -> u32 {
        let pair = |narrow: fn(f32) -> u16| u32::from(narrow(values[0])) | u32::from(narrow(values[1])) << 16;
        match self.word {
            Word::Float16 => pair(f32_to_f16),
            Word::BFloat16 => pair(f32_to_bf16),
            _ => values[0].to_bits(),
        }
    }

    /// The floats of a word; the second is 0 where a word has one.
    pub(crate) fn unword(self, word: u32) -> [f32; 2] {
        let pair = |wide: fn(u16) -> f32| [wide(word as u16), wide((word >> 16) as u16)];
        match self.word {
            Word::Float16 => pair(f16_to_f32),
            Word::BFloat16 => pair(bf16_to_f32),
            _ => [f32::from_bits(word), 0.0],
        }
    }
}

/// A packed matrix `[depth, columns]`.
#[derive(Clone, Debug)]
pub(crate) struct Panels {
    layout: Layout,
    /// Words along the sum.
    depth: usize,
    /// Lines of columns.
    lines: usize,
    words: Aligned<u32>,
}

impl Panels {
    /// Zeros: `depth` values along the sum, `columns` columns.
    pub(crate) fn zeroed(layout: Layout, depth: usize, columns: usize) -> Result<Self, BundleError> {
        let (depth, lines) = (layout.words(depth), columns.div_ceil(LINE));
        Ok(Self { layout, depth, lines, words: Aligned::zeroed(depth * lines * LINE)? })
    }

    /// Packs `columns` of a matrix `[rows, width]`.
    pub(crate) fn pack_part(
        layout: Layout,
        matrix: &[f32],
        rows: usize,
        width: usize,
        columns: std::ops::Range<usize>,
    ) -> Result<Self, BundleError> {
        let mut packed = Self::zeroed(layout, rows, columns.len())?;
        let row = |row: usize| (row < rows).then(|| &matrix[row * width..][..width][columns.clone()]);
        for index in 0..packed.count() {
            let (first, lines) = packed.span(index);
            let span = first * LINE..((first + lines) * LINE).min(columns.len());
            let depth = packed.depth;
            let panel = packed.panel_mut(index);
            for step in 0..depth {
                let to = panel[step * lines * LINE..][..lines * LINE].iter_mut();
                match (row(step * layout.values()), row(step * layout.values() + 1)) {
                    (Some(even), Some(odd)) if layout.values() == 2 => {
                        let pairs = even[span.clone()].iter().zip(&odd[span.clone()]);
                        to.zip(pairs).for_each(|(word, (even, odd))| *word = layout.word([*even, *odd]));
                    }
                    (Some(only), _) => {
                        to.zip(&only[span.clone()]).for_each(|(word, value)| *word = layout.word([*value, 0.0]));
                    }
                    (None, _) => {}
                }
            }
        }
        Ok(packed)
    }

    /// Words along the sum.
    pub(crate) fn depth(&self) -> usize {
        self.depth
    }

    pub(crate) fn layout(&self) -> Layout {
        self.layout
    }

    /// Number of panels.
    pub(crate) fn count(&self) -> usize {
        self.lines.div_ceil(self.layout.lines)
    }

    /// First line and number of lines of a panel. The lines are dealt out evenly, because a kernel is least efficient on
    /// its narrowest panel.
    pub(crate) fn span(&self, panel: usize) -> (usize, usize) {
        let (least, more) = (self.lines / self.count(), self.lines % self.count());
        (panel * least + panel.min(more), least + usize::from(panel < more))
    }

    /// A panel's lines of words.
    pub(crate) fn panel(&self, index: usize) -> &[[u32; LINE]] {
        let (first, lines) = self.span(index);
        self.words[first * LINE * self.depth..(first + lines) * LINE * self.depth].as_chunks().0
    }

    pub(crate) fn panel_mut(&mut self, index: usize) -> &mut [u32] {
        let (first, lines) = self.span(index);
        &mut self.words[first * LINE * self.depth..(first + lines) * LINE * self.depth]
    }

    /// Packs `rows` as columns: row r becomes column r. Columns beyond them keep their words.
    pub(crate) fn transpose(&mut self, rows: Rows<'_>) {
        let depth = self.depth;
        for index in 0..self.count() {
            let (first, lines) = self.span(index);
            let (first, width) = (first * LINE, lines * LINE);
            let panel = self.panel_mut(index);
            let count = width.min(rows.count.saturating_sub(first));
            // A line of columns at a time: its rows stay in the cache, and each of its words is written beside the last.
            for left in (0..count).step_by(LINE) {
                let from: [&[u32]; LINE] =
                    std::array::from_fn(|i| &rows.row(first + (left + i).min(count - 1))[..depth]);
                for (step, line) in panel.chunks_exact_mut(width).enumerate() {
                    for (word, from) in line[left..count.min(left + LINE)].iter_mut().zip(from) {
                        *word = from[step];
                    }
                }
            }
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.words.bytes()
    }
}

/// What a row's u8s stand for: size·(u8 − zero).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Scale {
    pub(crate) size: f32,
    pub(crate) zero: i32,
}

/// The left-hand side of a product: rows of words.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rows<'a> {
    pub(crate) words: &'a [u32],
    /// Words from one row to the next.
    pub(crate) stride: usize,
    pub(crate) count: usize,
    /// Of each row, where its words are u8; else empty.
    pub(crate) scales: &'a [Scale],
}

impl<'a> Rows<'a> {
    /// A row, from its first word on.
    #[inline(always)]
    pub(crate) fn row(&self, index: usize) -> &'a [u32] {
        &self.words[index * self.stride..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The value of row `row` and column `column`.
    fn value(panels: &Panels, row: usize, column: usize) -> f32 {
        let (line, values) = (column / LINE, panels.layout.values());
        let index = (0..panels.count()).rev().find(|index| panels.span(*index).0 <= line).unwrap();
        let (first, lines) = panels.span(index);
        let word = panels.panel(index)[row / values * lines + line - first][column % LINE];
        panels.layout.unword(word)[row % values]
    }

    #[test]
    fn every_value_is_where_its_panel_has_it() {
        for (word, lines) in [(Word::Float32, 1), (Word::Float32, 3), (Word::BFloat16, 3), (Word::Float16, 1)] {
            let layout = Layout { word, lines };
            let values = layout.values();
            for (rows, columns) in [(1, 1), (3, 16), (5, 17), (4, 64), (7, 200)] {
                let weight: Vec<f32> = (0..rows * columns).map(|i| (i % 251) as f32).collect();
                let packed = Panels::pack_part(layout, &weight, rows, columns, 0..columns).unwrap();
                for row in 0..rows {
                    for column in 0..padded(columns) {
                        let expected = if column < columns { weight[row * columns + column] } else { 0.0 };
                        assert_eq!(value(&packed, row, column), expected, "{layout:?} {rows}x{columns} {row},{column}");
                    }
                }
                // The same from rows of words that become columns.
                let words = layout.words(rows);
                let mut turned = vec![0; columns * words];
                for (column, row) in turned.chunks_exact_mut(words).enumerate() {
                    for (step, word) in row.iter_mut().enumerate() {
                        let at = |row: usize| if row < rows { weight[row * columns + column] } else { 0.0 };
                        *word = layout.word([at(step * values), at(step * values + 1)]);
                    }
                }
                let mut transposed = Panels::zeroed(layout, rows, columns).unwrap();
                transposed.transpose(Rows { words: &turned, stride: words, count: columns, scales: &[] });
                assert_eq!(transposed.words[..], packed.words[..], "{layout:?} {rows}x{columns}");
            }
        }
    }

    #[test]
    fn lines_are_dealt_out_evenly() {
        let spans = |columns: usize| {
            let panels = Panels::zeroed(Layout { word: Word::Float32, lines: 3 }, 1, columns).unwrap();
            (0..panels.count()).map(|panel| panels.span(panel).1).collect::<Vec<_>>()
        };
        assert_eq!(spans(64), [2, 2]);
        assert_eq!(spans(197), [3, 3, 3, 2, 2]);
        assert_eq!(spans(5), [1]);
    }

    #[test]
    fn bfloat16_rounds_to_the_nearest_even() {
        let layout = Layout { word: Word::BFloat16, lines: 1 };
        let bfloat16 = |value: f32| layout.word([0.0, value]) >> 16;
        for (value, bits) in [(1.0, 0x3f80), (1.0 + 1.0 / 256.0, 0x3f80), (1.0 + 3.0 / 256.0, 0x3f82), (-2.5, 0xc020)] {
            assert_eq!(bfloat16(value), bits, "{value}");
        }
        assert_eq!(bfloat16(f32::INFINITY), 0x7f80);
        assert!(layout.unword(layout.word([f32::NAN, 0.0]))[0].is_nan());
    }

    #[test]
    fn float16_stands_in_a_word_as_in_memory() {
        let layout = Layout { word: Word::Float16, lines: 1 };
        assert_eq!(layout.word([1.0, -2.0]), 0xc000_3c00);
        assert_eq!(layout.unword(0xc000_3c00), [1.0, -2.0]);
    }
}
