//! The inner loops. Sums run in sixteen lanes of fixed order, so that the width of the machine's vectors does not change a
//! result; only the matrix product's order is its library's.

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};

/// Rows of a batch that one thread takes at a time. Fixed, so that the number of threads does not change a result.
pub(super) const CHUNK: usize = 64;

const LANES: usize = 16;

/// a·b.
#[inline(always)]
pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let (mut whole_a, mut whole_b) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let mut sums = [0.0_f32; LANES];
    for (a, b) in (&mut whole_a).zip(&mut whole_b) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    let rest: f32 = whole_a.remainder().iter().zip(whole_b.remainder()).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f32>() + rest
}

/// out += factor·values.
#[inline(always)]
pub(super) fn add_scaled(out: &mut [f32], factor: f32, values: &[f32]) {
    for (out, value) in out.iter_mut().zip(values) {
        *out += factor * value;
    }
}

/// Runs `work` with the widest vectors that this machine has.
#[inline]
pub(super) fn vectorised<R>(work: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(work)
}

/// A row-major matrix.
pub(super) fn matrix(values: &[f32], columns: usize) -> MatRef<'_, f32> {
    MatRef::from_row_major_slice(values, values.len() / columns, columns)
}

/// out = a·b, row-major.
pub(super) fn product(a: MatRef<'_, f32>, b: MatRef<'_, f32>, out: &mut [f32]) {
    let out = MatMut::from_row_major_slice_mut(out, a.nrows(), b.ncols());
    matmul(out, Accum::Replace, a, b, 1.0, Par::Seq);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_are_those_of_the_plain_loops() {
        for width in [1, 15, 16, 17, 192] {
            let a: Vec<f32> = (0..3 * width).map(|i| ((i * 7 % 13) as f32 - 6.0) / 4.0).collect();
            let b: Vec<f32> = (0..2 * width).map(|i| ((i * 5 % 11) as f32 - 5.0) / 4.0).collect();
            let plain = |i: usize, j: usize| (0..width).map(|w| a[i * width + w] * b[j * width + w]).sum::<f32>();
            let mut out = vec![f32::NAN; 6];
            product(matrix(&a, width), matrix(&b, width).transpose(), &mut out);
            for (i, row) in a.chunks_exact(width).enumerate() {
                for (j, column) in b.chunks_exact(width).enumerate() {
                    // Multiples of 1/16 below 2^10: every order of summation is exact.
                    assert_eq!(dot(row, column), plain(i, j));
                    assert_eq!(out[i * 2 + j], plain(i, j));
                }
            }
        }
    }
}
