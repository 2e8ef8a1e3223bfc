//! The products of int8 in simple loops.

use super::octets::scale;
use super::plain::Plain;
use super::{Int8Kernels, Out, Right};
use crate::panels::{LINE, Layout, Rows, Scale, Word};

/// The plain products of int8, whose operands are those of a family of floats.
pub(crate) struct PlainInt8 {
    pub(crate) layout: Layout,
    pub(crate) floats: Plain,
}

impl Int8Kernels for PlainInt8 {
    fn layout(&self) -> Layout {
        self.layout
    }

    fn quantise(&self, row: &[f32], words: &mut [u32]) -> Scale {
        let bound = |pick: fn(f32, f32) -> f32| row.iter().copied().fold(0.0, pick);
        let none = row.iter().map(|value| value * 0.0).sum();
        let (scale, factor) = scale(bound(f32::min), bound(f32::max), none);
        let octet = |value: &f32| ((value * factor).round_ties_even() + scale.zero as f32).clamp(0.0, 255.0) as u8;
        for (values, word) in row.chunks_exact(4).zip(words) {
            *word = u32::from_le_bytes([0, 1, 2, 3].map(|i| octet(&values[i]).wrapping_sub(self.shift() as u8)));
        }
        Scale { zero: scale.zero - self.shift(), ..scale }
    }

    fn product(&self, a: Rows<'_>, b: Right<'_>, mut out: Out<'_>) {
        let Right { panels, columns, bias, .. } = b;
        for row in 0..a.count {
            let (words, scale) = (&a.row(row)[..panels.depth()], a.scales[row]);
            for panel in 0..panels.count() {
                let (first, lines) = panels.span(panel);
                for column in first * LINE..(first + lines) * LINE {
                    let (line, lane) = (column / LINE - first, column % LINE);
                    let steps = words.iter().zip(panels.panel(panel).chunks_exact(lines));
                    let sum: i32 = steps.map(|(word, step)| self.dot(*word, step[line][lane])).sum();
                    let exact = sum - scale.zero * columns.sums[column];
                    let value = exact as f32 * scale.size * columns.sizes[column];
                    let p = value + bias.get(column).copied().unwrap_or(0.0);
                    self.floats.write(&mut out, (row, column), f64::from(p));
                }
            }
        }
    }
}

impl PlainInt8 {
    /// What a row's octets are less than its u8s.
    fn shift(&self) -> i32 {
        if self.layout.word == Word::Int8Signed { 128 } else { 0 }
    }

    /// The products of four octets and four int8, added.
    fn dot(&self, a: u32, b: u32) -> i32 {
        let octet = |a: u8| if self.shift() == 0 { i32::from(a) } else { i32::from(a.cast_signed()) };
        let pairs = a.to_le_bytes().into_iter().zip(b.to_le_bytes());
        pairs.map(|(a, b)| octet(a) * i32::from(b.cast_signed())).sum()
    }
}
