//! AVX512-BF16: a word is a pair of bfloat16, and `vdpbf16ps` adds both products to a float32 sum.

use std::arch::x86_64::*;
use std::mem::transmute;

use super::avx512::{Avx512, with};
use super::entries::kernels;
use super::vector::{Multiply, Product};
use crate::panels::{LINE, Word};

/// Proof that the processor has AVX512-BF16.
#[derive(Clone, Copy)]
pub(crate) struct BFloat16(Avx512);

impl BFloat16 {
    pub(crate) fn detect() -> Option<Self> {
        if is_x86_feature_detected!("avx512bf16") { Avx512::detect().map(Self) } else { None }
    }

    /// Whether it multiplies at twice the rate of float32. AMD's processors do; Intel's without AMX have half the rate.
    pub(crate) fn is_worth_it() -> bool {
        let vendor = __cpuid(0);
        [vendor.ebx, vendor.edx, vendor.ecx].map(u32::to_le_bytes).as_flattened() == b"AuthenticAMD"
    }
}

kernels!(BFloat16, "avx512bf16,avx512f,avx512bw,avx512dq,avx512vl,avx2,fma", rows 8, lines 3);

impl Multiply for BFloat16 {
    type Vector = Avx512;
    const WORD: Word = Word::BFloat16;

    #[inline(always)]
    fn vector(self) -> Avx512 {
        self.0
    }

    #[inline(always)]
    fn multiply(self, a: __m512, b: __m512, sum: __m512) -> __m512 {
        with!(_mm512_dpbf16_ps(sum, transmute::<__m512, __m512bh>(a), transmute::<__m512, __m512bh>(b)))
    }
}

impl Product for BFloat16 {
    #[inline(always)]
    fn narrow(self, line: __m512, to: &mut [u32]) {
        if let Some(to) = to.first_chunk_mut::<{ LINE / 2 }>() {
            *to = with!(transmute::<__m256bh, [u32; LINE / 2]>(_mm512_cvtneps_pbh(line)));
        }
    }

    #[inline(always)]
    fn stack(self, even: __m512, odd: __m512, to: &mut [u32; LINE]) {
        with!({
            let even = _mm512_cvtepu16_epi32(transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(even)));
            let odd = _mm512_cvtepu16_epi32(transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(odd)));
            _mm512_storeu_si512(to.as_mut_ptr().cast(), _mm512_or_si512(even, _mm512_slli_epi32::<16>(odd)));
        });
    }
}
