//! AVX512-FP16: a word is a pair of float16, and `vfmadd…ph` adds both products to a pair of float16 sums, which become
//! float32 block by block.

use std::arch::x86_64::*;
use std::mem::transmute;

use super::avx512::{Avx512, with};
use super::entries::kernels;
use super::float16::BLOCK;
use super::vector::{Multiply, Product};
use crate::panels::{LINE, Word};

/// Everything but the multiply-add of float16 is AVX-512 F: tests put an emulated one in its place.
pub(super) trait FusedPairs: Copy {
    /// sum + a·b of 32 float16s, each rounded once.
    fn fused(self, a: __m512, b: __m512, sum: __m512) -> __m512;
}

/// Kernels of float16 over a multiply-add.
#[derive(Clone, Copy)]
pub(crate) struct Float16<F> {
    avx512: Avx512,
    pairs: F,
}

/// Proof that the processor has AVX512-FP16.
#[derive(Clone, Copy)]
pub(crate) struct Native(());

impl Float16<Native> {
    pub(crate) fn detect() -> Option<Self> {
        let pairs = is_x86_feature_detected!("avx512fp16").then_some(Native(()))?;
        Avx512::detect().map(|avx512| Self { avx512, pairs })
    }
}

kernels!(Float16<Native>, "avx512fp16,avx512f,avx512bw,avx512dq,avx512vl,avx2,fma", rows 8, lines 3);

impl FusedPairs for Native {
    #[inline(always)]
    fn fused(self, a: __m512, b: __m512, sum: __m512) -> __m512 {
        with!({
            let (a, b, sum) = (_mm512_castps_ph(a), _mm512_castps_ph(b), _mm512_castps_ph(sum));
            _mm512_castph_ps(_mm512_fmadd_ph(a, b, sum))
        })
    }
}

impl<F: FusedPairs> Multiply for Float16<F> {
    type Vector = Avx512;
    const WORD: Word = Word::Float16;
    const BLOCK: Option<usize> = Some(BLOCK);

    #[inline(always)]
    fn vector(self) -> Avx512 {
        self.avx512
    }

    #[inline(always)]
    fn multiply(self, a: __m512, b: __m512, sum: __m512) -> __m512 {
        self.pairs.fused(a, b, sum)
    }

    /// even + odd of every word.
    #[inline(always)]
    fn widen(self, sums: __m512) -> __m512 {
        with!({
            let sums = _mm512_castps_si512(sums);
            let low = _mm512_cvtph_ps(_mm512_castsi512_si256(sums));
            let high = _mm512_cvtph_ps(_mm512_extracti64x4_epi64::<1>(sums));
            let even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
            let odd = _mm512_setr_epi32(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
            _mm512_add_ps(_mm512_permutex2var_ps(low, even, high), _mm512_permutex2var_ps(low, odd, high))
        })
    }
}

/// 16 float16s, to the nearest, ties to even.
#[inline(always)]
fn narrowed(line: __m512) -> __m256i {
    with!(_mm512_cvtps_ph::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(line))
}

impl<F: FusedPairs> Product for Float16<F> {
    #[inline(always)]
    fn narrow(self, line: __m512, to: &mut [u32]) {
        if let Some(to) = to.first_chunk_mut::<{ LINE / 2 }>() {
            *to = with!(transmute::<__m256i, [u32; LINE / 2]>(narrowed(line)));
        }
    }

    #[inline(always)]
    fn stack(self, even: __m512, odd: __m512, to: &mut [u32; LINE]) {
        with!({
            let (even, odd) = (_mm512_cvtepu16_epi32(narrowed(even)), _mm512_cvtepu16_epi32(narrowed(odd)));
            _mm512_storeu_si512(to.as_mut_ptr().cast(), _mm512_or_si512(even, _mm512_slli_epi32::<16>(odd)));
        });
    }
}

/// What a processor without AVX512-FP16 can run of these kernels: all but the multiply-add, which is made of those of
/// float32.
#[cfg(test)]
pub(super) mod emulated {
    use super::*;

    #[derive(Clone, Copy)]
    pub(crate) struct Emulated(());

    impl Float16<Emulated> {
        pub(crate) fn on_any_avx512() -> Option<Self> {
            Avx512::detect().map(|avx512| Self { avx512, pairs: Emulated(()) })
        }
    }

    kernels!(Float16<Emulated>, "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma", rows 8, lines 3);

    impl FusedPairs for Emulated {
        #[inline(always)]
        fn fused(self, a: __m512, b: __m512, sum: __m512) -> __m512 {
            with!({
                let half = |pairs: __m512, high: bool| {
                    let pairs = _mm512_castps_si512(pairs);
                    let half = match high {
                        true => _mm512_extracti64x4_epi64::<1>(pairs),
                        false => _mm512_castsi512_si256(pairs),
                    };
                    _mm512_cvtph_ps(half)
                };
                let low = narrowed(to_odd(half(a, false), half(b, false), half(sum, false)));
                let high = narrowed(to_odd(half(a, true), half(b, true), half(sum, true)));
                _mm512_castsi512_ps(_mm512_inserti64x4::<1>(_mm512_castsi256_si512(low), high))
            })
        }
    }

    /// a·b + c rounded to odd: then rounding to float16 is as if it had been the only one.
    #[inline(always)]
    fn to_odd(a: __m512, b: __m512, c: __m512) -> __m512 {
        with!({
            let zero = _mm512_fmadd_round_ps::<{ _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC }>(a, b, c);
            let up = _mm512_fmadd_round_ps::<{ _MM_FROUND_TO_POS_INF | _MM_FROUND_NO_EXC }>(a, b, c);
            let down = _mm512_fmadd_round_ps::<{ _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC }>(a, b, c);
            // The sign of a sum that is exactly zero depends on the mode alone, and it is compared as a number.
            let inexact = _mm512_cmp_ps_mask::<_CMP_NEQ_OQ>(up, down);
            let bits = _mm512_castps_si512(zero);
            _mm512_castsi512_ps(_mm512_mask_or_epi32(bits, inexact, bits, _mm512_set1_epi32(1)))
        })
    }
}
