//! AVX2 with FMA: a line is two registers, and a tile of 6 × 16 takes 12 of the 16.

use std::arch::x86_64::*;

use super::entries::kernels;
use super::vector::{Float32, Integers, Vector};
use crate::panels::LINE;

/// Proof that the processor has AVX2 and FMA.
#[derive(Clone, Copy)]
pub(crate) struct Avx2(());

impl Avx2 {
    pub(super) fn detect() -> Option<Self> {
        (is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")).then_some(Self(()))
    }

    pub(crate) fn float32() -> Option<Float32<Self>> {
        Self::detect().map(Float32)
    }
}

kernels!(Float32<Avx2>, "avx2,fma", rows 6, lines 1);

/// Calls an intrinsic.
macro_rules! with {
    ($call:expr) => {
        // SAFETY: `Avx2` proves that the processor has the instruction; a pointer comes from a reference to half a line
        // at least.
        unsafe { $call }
    };
}

pub(super) use with;

impl Vector for Avx2 {
    type Line = [__m256; 2];

    #[inline(always)]
    fn splat(self, value: f32) -> Self::Line {
        [with!(_mm256_set1_ps(value)); 2]
    }

    #[inline(always)]
    fn load(self, from: &[f32; LINE]) -> Self::Line {
        with!([_mm256_loadu_ps(from.as_ptr()), _mm256_loadu_ps(from[8..].as_ptr())])
    }

    #[inline(always)]
    fn load_words(self, from: &[u32; LINE]) -> Self::Line {
        with!([_mm256_loadu_ps(from.as_ptr().cast()), _mm256_loadu_ps(from[8..].as_ptr().cast())])
    }

    #[inline(always)]
    fn prefetch(self, line: &[u32; LINE]) {
        with!(_mm_prefetch::<_MM_HINT_T1>(line.as_ptr().cast()))
    }

    #[inline(always)]
    fn prefetch_near<T>(self, place: &T) {
        with!(_mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(place).cast()))
    }

    #[inline(always)]
    fn store(self, line: Self::Line, to: &mut [f32; LINE]) {
        with!(_mm256_storeu_ps(to.as_mut_ptr(), line[0]));
        with!(_mm256_storeu_ps(to[8..].as_mut_ptr(), line[1]));
    }

    #[inline(always)]
    fn store_words(self, line: Self::Line, to: &mut [u32; LINE]) {
        with!(_mm256_storeu_ps(to.as_mut_ptr().cast(), line[0]));
        with!(_mm256_storeu_ps(to[8..].as_mut_ptr().cast(), line[1]));
    }

    #[inline(always)]
    fn add(self, a: Self::Line, b: Self::Line) -> Self::Line {
        with!([_mm256_add_ps(a[0], b[0]), _mm256_add_ps(a[1], b[1])])
    }

    #[inline(always)]
    fn sub(self, a: Self::Line, b: Self::Line) -> Self::Line {
        with!([_mm256_sub_ps(a[0], b[0]), _mm256_sub_ps(a[1], b[1])])
    }

    #[inline(always)]
    fn mul(self, a: Self::Line, b: Self::Line) -> Self::Line {
        with!([_mm256_mul_ps(a[0], b[0]), _mm256_mul_ps(a[1], b[1])])
    }

    #[inline(always)]
    fn div(self, a: Self::Line, b: Self::Line) -> Self::Line {
        with!([_mm256_div_ps(a[0], b[0]), _mm256_div_ps(a[1], b[1])])
    }

    #[inline(always)]
    fn fma(self, a: Self::Line, b: Self::Line, c: Self::Line) -> Self::Line {
        with!([_mm256_fmadd_ps(a[0], b[0], c[0]), _mm256_fmadd_ps(a[1], b[1], c[1])])
    }

    #[inline(always)]
    fn min(self, a: Self::Line, b: Self::Line) -> Self::Line {
        with!([_mm256_min_ps(a[0], b[0]), _mm256_min_ps(a[1], b[1])])
    }

    #[inline(always)]
    fn max(self, a: Self::Line, b: Self::Line) -> Self::Line {
        with!([_mm256_max_ps(a[0], b[0]), _mm256_max_ps(a[1], b[1])])
    }

    #[inline(always)]
    fn round(self, a: Self::Line) -> Self::Line {
        const NEAREST: i32 = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
        with!([_mm256_round_ps::<NEAREST>(a[0]), _mm256_round_ps::<NEAREST>(a[1])])
    }

    /// Adds n to the exponent.
    #[inline(always)]
    fn scale(self, a: Self::Line, n: Self::Line) -> Self::Line {
        let mut scaled = a;
        for (a, n) in scaled.iter_mut().zip(n) {
            *a = with!({
                let exponent = _mm256_slli_epi32::<23>(_mm256_cvtps_epi32(n));
                _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(*a), exponent))
            });
        }
        scaled
    }

    #[inline(always)]
    fn first(self, a: Self::Line, count: usize, rest: Self::Line) -> Self::Line {
        let count = count.min(LINE) as i32;
        with!({
            let lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
            let low = _mm256_castsi256_ps(_mm256_cmpgt_epi32(_mm256_set1_epi32(count), lane));
            let high = _mm256_castsi256_ps(_mm256_cmpgt_epi32(_mm256_set1_epi32(count - 8), lane));
            [_mm256_blendv_ps(rest[0], a[0], low), _mm256_blendv_ps(rest[1], a[1], high)]
        })
    }

    /// Quarter by quarter of the square, of which two change places.
    #[inline(always)]
    fn transpose(self, square: &mut [Self::Line; LINE]) {
        let (top, bottom) = square.split_at_mut(LINE / 2);
        for (top, bottom) in top.iter_mut().zip(bottom) {
            std::mem::swap(&mut top[1], &mut bottom[0]);
        }
        for rows in square.as_chunks_mut::<{ LINE / 2 }>().0 {
            for half in 0..2 {
                let mut quarter = [self.splat(0.0)[0]; LINE / 2];
                for (row, to) in rows.iter().zip(&mut quarter) {
                    *to = row[half];
                }
                let quarter = transposed(quarter);
                for (row, from) in rows.iter_mut().zip(quarter) {
                    row[half] = from;
                }
            }
        }
    }

    #[inline(always)]
    fn total(self, a: Self::Line) -> f32 {
        with!({
            let sum = _mm256_add_ps(a[0], a[1]);
            let sum = _mm_add_ps(_mm256_castps256_ps128(sum), _mm256_extractf128_ps::<1>(sum));
            let sum = _mm_add_ps(sum, _mm_movehl_ps(sum, sum));
            _mm_cvtss_f32(_mm_add_ss(sum, _mm_shuffle_ps::<1>(sum, sum)))
        })
    }

    #[inline(always)]
    fn largest(self, a: Self::Line) -> f32 {
        with!({
            let most = _mm256_max_ps(a[0], a[1]);
            let most = _mm_max_ps(_mm256_castps256_ps128(most), _mm256_extractf128_ps::<1>(most));
            let most = _mm_max_ps(most, _mm_movehl_ps(most, most));
            _mm_cvtss_f32(_mm_max_ss(most, _mm_shuffle_ps::<1>(most, most)))
        })
    }
}

/// 8 × 8: rows become columns.
#[inline(always)]
fn transposed(mut rows: [__m256; 8]) -> [__m256; 8] {
    with!({
        // Within halves: then a half holds four rows of one column.
        for rows in rows.as_chunks_mut::<4>().0 {
            let low = [_mm256_unpacklo_ps(rows[0], rows[1]), _mm256_unpacklo_ps(rows[2], rows[3])];
            let high = [_mm256_unpackhi_ps(rows[0], rows[1]), _mm256_unpackhi_ps(rows[2], rows[3])];
            for (i, [a, b]) in [low, high].into_iter().enumerate() {
                rows[2 * i] = _mm256_shuffle_ps::<0x44>(a, b);
                rows[2 * i + 1] = _mm256_shuffle_ps::<0xee>(a, b);
            }
        }
        for i in 0..4 {
            let (a, b) = (rows[i], rows[4 + i]);
            rows[i] = _mm256_permute2f128_ps::<0x20>(a, b);
            rows[4 + i] = _mm256_permute2f128_ps::<0x31>(a, b);
        }
    });
    rows
}

impl Integers for Avx2 {
    #[inline(always)]
    fn corrected(self, sums: &[f32; LINE], zero: i32, columns: &[i32; LINE]) -> Self::Line {
        let (sums, columns) = (sums.as_chunks::<8>().0, columns.as_chunks::<8>().0);
        let half = |i: usize| {
            with!({
                let sums = _mm256_loadu_si256(sums[i].as_ptr().cast());
                let columns = _mm256_loadu_si256(columns[i].as_ptr().cast());
                let shift = _mm256_mullo_epi32(_mm256_set1_epi32(zero), columns);
                _mm256_cvtepi32_ps(_mm256_sub_epi32(sums, shift))
            })
        };
        [half(0), half(1)]
    }

    #[inline(always)]
    fn octets(self, line: Self::Line, to: &mut [u32; LINE / 4]) {
        with!({
            let words = _mm256_packus_epi32(_mm256_cvtps_epi32(line[0]), _mm256_cvtps_epi32(line[1]));
            // Packing works within halves: the middle quarters change places.
            let words = _mm256_permute4x64_epi64::<0b11_01_10_00>(words);
            let octets = _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256::<1>(words));
            _mm_storeu_si128(to.as_mut_ptr().cast(), octets);
        });
    }
}
