//! What the generic kernels need of a processor: a line of 16 float32s in registers.
//!
//! A value of a type that is a [`Vector`] proves that the processor has the instructions: only then it can be made. Its
//! methods are therefore safe. They are inlined into a kernel's entry, which enables the instructions.

use super::Columns;
use crate::panels::{LINE, Scale, Word};

pub(super) trait Vector: Copy {
    /// 16 float32s, in one register or more.
    type Line: Copy;

    fn splat(self, value: f32) -> Self::Line;
    fn load(self, from: &[f32; LINE]) -> Self::Line;
    fn load_words(self, from: &[u32; LINE]) -> Self::Line;
    /// Calls a line from memory into the second-level cache.
    fn prefetch(self, line: &[u32; LINE]);
    /// Calls the line of a place into the first-level cache.
    fn prefetch_near<T>(self, place: &T);
    fn store(self, line: Self::Line, to: &mut [f32; LINE]);
    fn store_words(self, line: Self::Line, to: &mut [u32; LINE]);
    fn add(self, a: Self::Line, b: Self::Line) -> Self::Line;
    fn sub(self, a: Self::Line, b: Self::Line) -> Self::Line;
    fn mul(self, a: Self::Line, b: Self::Line) -> Self::Line;
    fn div(self, a: Self::Line, b: Self::Line) -> Self::Line;
    /// a·b + c, rounded once.
    fn fma(self, a: Self::Line, b: Self::Line, c: Self::Line) -> Self::Line;
    /// The smaller; b where either is NaN.
    fn min(self, a: Self::Line, b: Self::Line) -> Self::Line;
    /// The larger; b where either is NaN.
    fn max(self, a: Self::Line, b: Self::Line) -> Self::Line;
    /// The nearest integers.
    fn round(self, a: Self::Line) -> Self::Line;
    /// a·2^n for integers n between −126 and 127, where the result is neither subnormal nor infinite.
    fn scale(self, a: Self::Line, n: Self::Line) -> Self::Line;
    /// The first `count` of a, and `rest` beyond.
    fn first(self, a: Self::Line, count: usize, rest: Self::Line) -> Self::Line;
    /// Rows become columns.
    #[inline(always)]
    fn transpose(self, square: &mut [Self::Line; LINE]) {
        let mut rows = [[0.0; LINE]; LINE];
        for (line, row) in square.iter().zip(&mut rows) {
            self.store(*line, row);
        }
        for (column, line) in square.iter_mut().enumerate() {
            let mut values = [0.0; LINE];
            for (value, row) in values.iter_mut().zip(&rows) {
                *value = row[column];
            }
            *line = self.load(&values);
        }
    }
    /// The sum of all 16.
    fn total(self, a: Self::Line) -> f32;
    /// The largest of all 16.
    fn largest(self, a: Self::Line) -> f32;
}

/// How operands are multiplied: what a word of them holds.
pub(super) trait Multiply: Copy {
    type Vector: Vector;
    const WORD: Word;
    /// Steps at most whose products are summed without being widened; `None`: sums are wide.
    const BLOCK: Option<usize> = None;

    fn vector(self) -> Self::Vector;
    /// sum + a·b, word by word.
    fn multiply(
        self,
        a: <Self::Vector as Vector>::Line,
        b: <Self::Vector as Vector>::Line,
        sum: <Self::Vector as Vector>::Line,
    ) -> <Self::Vector as Vector>::Line;
    /// The sums of a block of steps as float32. Wide sums are.
    #[inline(always)]
    fn widen(self, sums: <Self::Vector as Vector>::Line) -> <Self::Vector as Vector>::Line {
        sums
    }
    /// Turns a tile's sums into values, in place. Sums of float32 are values.
    #[inline(always)]
    fn values<const N: usize>(self, _sums: &mut [[[f32; LINE]; N]], _rows: &[Scale], _columns: Columns<'_>) {}
}

/// How a family that multiplies floats makes its operands.
pub(super) trait Product: Multiply {
    /// 16 values as words.
    fn narrow(self, line: <Self::Vector as Vector>::Line, to: &mut [u32]);
    /// The words of two rows' values, the first of which is even. A word that holds one value takes the first's.
    fn stack(self, even: <Self::Vector as Vector>::Line, odd: <Self::Vector as Vector>::Line, to: &mut [u32; LINE]);
}

/// What the kernels of int8 need beside: a line of 16 int32s in the bits of a line.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub(super) trait Integers: Vector {
    /// What octets are less than the whole numbers from 0 to 255 that they stand for.
    const SHIFT: i32 = 0;

    /// sums − zero·columns, as float32. The sums are int32s in the bits of float32s.
    fn corrected(self, sums: &[f32; LINE], zero: i32, columns: &[i32; LINE]) -> Self::Line;
    /// 16 whole numbers from 0 to 255 as words of four octets.
    fn octets(self, line: Self::Line, to: &mut [u32; LINE / 4]);
}

/// A word is a float32.
#[derive(Clone, Copy)]
pub(crate) struct Float32<V>(pub(super) V);

impl<V: Vector> Multiply for Float32<V> {
    type Vector = V;
    const WORD: Word = Word::Float32;

    #[inline(always)]
    fn vector(self) -> V {
        self.0
    }

    #[inline(always)]
    fn multiply(self, a: V::Line, b: V::Line, sum: V::Line) -> V::Line {
        self.0.fma(a, b, sum)
    }
}

impl<V: Vector> Product for Float32<V> {
    #[inline(always)]
    fn narrow(self, line: V::Line, to: &mut [u32]) {
        if let Some(to) = to.first_chunk_mut() {
            self.0.store_words(line, to);
        }
    }

    #[inline(always)]
    fn stack(self, even: V::Line, _odd: V::Line, to: &mut [u32; LINE]) {
        self.0.store_words(even, to);
    }
}
