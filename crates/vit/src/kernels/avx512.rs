//! AVX-512: a line is one register, and a tile of 8 × 48 takes 24 of the 32.

use std::arch::x86_64::*;

use super::entries::kernels;
use super::vector::{Float32, Integers, Vector};
use crate::panels::LINE;

/// Proof that the processor has AVX-512 F, BW, DQ and VL.
#[derive(Clone, Copy)]
pub(crate) struct Avx512(());

impl Avx512 {
    pub(crate) fn detect() -> Option<Self> {
        let all = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl");
        all.then_some(Self(()))
    }

    pub(crate) fn float32() -> Option<Float32<Self>> {
        Self::detect().map(Float32)
    }
}

kernels!(Float32<Avx512>, "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma", rows 8, lines 3);

/// Calls an intrinsic.
macro_rules! with {
    ($call:expr) => {
        // SAFETY: `Avx512` proves that the processor has the instruction; a pointer comes from a reference to a line.
        unsafe { $call }
    };
}
pub(super) use with;

impl Vector for Avx512 {
    type Line = __m512;

    #[inline(always)]
    fn splat(self, value: f32) -> __m512 {
        with!(_mm512_set1_ps(value))
    }

    #[inline(always)]
    fn load(self, from: &[f32; LINE]) -> __m512 {
        with!(_mm512_loadu_ps(from.as_ptr()))
    }

    #[inline(always)]
    fn load_words(self, from: &[u32; LINE]) -> __m512 {
        with!(_mm512_loadu_ps(from.as_ptr().cast()))
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
    fn store(self, line: __m512, to: &mut [f32; LINE]) {
        with!(_mm512_storeu_ps(to.as_mut_ptr(), line))
    }

    #[inline(always)]
    fn store_words(self, line: __m512, to: &mut [u32; LINE]) {
        with!(_mm512_storeu_ps(to.as_mut_ptr().cast(), line))
    }

    #[inline(always)]
    fn add(self, a: __m512, b: __m512) -> __m512 {
        with!(_mm512_add_ps(a, b))
    }

    #[inline(always)]
    fn sub(self, a: __m512, b: __m512) -> __m512 {
        with!(_mm512_sub_ps(a, b))
    }

    #[inline(always)]
    fn mul(self, a: __m512, b: __m512) -> __m512 {
        with!(_mm512_mul_ps(a, b))
    }

    #[inline(always)]
    fn div(self, a: __m512, b: __m512) -> __m512 {
        with!(_mm512_div_ps(a, b))
    }

    #[inline(always)]
    fn fma(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        with!(_mm512_fmadd_ps(a, b, c))
    }

    #[inline(always)]
    fn min(self, a: __m512, b: __m512) -> __m512 {
        with!(_mm512_min_ps(a, b))
    }

    #[inline(always)]
    fn max(self, a: __m512, b: __m512) -> __m512 {
        with!(_mm512_max_ps(a, b))
    }

    #[inline(always)]
    fn round(self, a: __m512) -> __m512 {
        with!(_mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a))
    }

    #[inline(always)]
    fn scale(self, a: __m512, n: __m512) -> __m512 {
        with!(_mm512_scalef_ps(a, n))
    }

    #[inline(always)]
    fn first(self, a: __m512, count: usize, rest: __m512) -> __m512 {
        let mask = ((1_u32 << count.min(LINE)) - 1) as __mmask16;
        with!(_mm512_mask_blend_ps(mask, rest, a))
    }

    #[inline(always)]
    fn transpose(self, square: &mut [__m512; LINE]) {
        with!({
            // Within quarters: then a quarter holds four rows of one column.
            for rows in square.as_chunks_mut::<4>().0 {
                let low = [_mm512_unpacklo_ps(rows[0], rows[1]), _mm512_unpacklo_ps(rows[2], rows[3])];
                let high = [_mm512_unpackhi_ps(rows[0], rows[1]), _mm512_unpackhi_ps(rows[2], rows[3])];
                for (i, [a, b]) in [low, high].into_iter().enumerate() {
                    let (a, b) = (_mm512_castps_pd(a), _mm512_castps_pd(b));
                    rows[2 * i] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, b));
                    rows[2 * i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, b));
                }
            }
            // Then quarters to their places.
            for i in 0..4 {
                let [a, b, c, d] = [square[i], square[4 + i], square[8 + i], square[12 + i]];
                let even = [_mm512_shuffle_f32x4::<0x88>(a, b), _mm512_shuffle_f32x4::<0x88>(c, d)];
                let odd = [_mm512_shuffle_f32x4::<0xdd>(a, b), _mm512_shuffle_f32x4::<0xdd>(c, d)];
                square[i] = _mm512_shuffle_f32x4::<0x88>(even[0], even[1]);
                square[4 + i] = _mm512_shuffle_f32x4::<0x88>(odd[0], odd[1]);
                square[8 + i] = _mm512_shuffle_f32x4::<0xdd>(even[0], even[1]);
                square[12 + i] = _mm512_shuffle_f32x4::<0xdd>(odd[0], odd[1]);
            }
        });
    }

    #[inline(always)]
    fn total(self, a: __m512) -> f32 {
        with!(_mm512_reduce_add_ps(a))
    }

    #[inline(always)]
    fn largest(self, a: __m512) -> f32 {
        with!(_mm512_reduce_max_ps(a))
    }
}

impl Integers for Avx512 {
    #[inline(always)]
    fn corrected(self, sums: &[f32; LINE], zero: i32, columns: &[i32; LINE]) -> __m512 {
        with!({
            let sums = _mm512_loadu_si512(sums.as_ptr().cast());
            let columns = _mm512_loadu_si512(columns.as_ptr().cast());
            _mm512_cvtepi32_ps(_mm512_sub_epi32(sums, _mm512_mullo_epi32(_mm512_set1_epi32(zero), columns)))
        })
    }

    #[inline(always)]
    fn octets(self, line: __m512, to: &mut [u32; LINE / 4]) {
        with!(_mm_storeu_si128(to.as_mut_ptr().cast(), _mm512_cvtusepi32_epi8(_mm512_cvtps_epi32(line))))
    }
}
