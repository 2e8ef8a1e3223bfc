//! AVX512-VNNI: a word is four u8 of a row or four int8 of a weight, and `vpdpbusd` adds their products to an int32 sum.

use std::arch::x86_64::*;

use super::Columns;
use super::avx512::{Avx512, with};
use super::avx512_bf16::BFloat16;
use super::avx512_fp16::{Float16, Native};
use super::entries::int8_kernels;
use super::octets;
use super::vector::{Float32, Multiply};
use crate::panels::{LINE, Scale, Word};

/// Proof that the processor has AVX512-VNNI.
#[derive(Clone, Copy)]
pub(crate) struct Vnni512(Avx512);

impl Vnni512 {
    pub(crate) fn detect() -> Option<Self> {
        if is_x86_feature_detected!("avx512vnni") { Avx512::detect().map(Self) } else { None }
    }
}

int8_kernels!(Vnni512, Float32<Avx512>, "avx512vnni,avx512f,avx512bw,avx512dq,avx512vl,avx2,fma", rows 8, lines 3);
int8_kernels!(
    Vnni512, Float16<Native>, "avx512vnni,avx512fp16,avx512f,avx512bw,avx512dq,avx512vl,avx2,fma", rows 8, lines 3
);
int8_kernels!(Vnni512, BFloat16, "avx512vnni,avx512bf16,avx512f,avx512bw,avx512dq,avx512vl,avx2,fma", rows 8, lines 3);

impl Multiply for Vnni512 {
    type Vector = Avx512;
    const WORD: Word = Word::Int8;

    #[inline(always)]
    fn vector(self) -> Avx512 {
        self.0
    }

    #[inline(always)]
    fn multiply(self, a: __m512, b: __m512, sum: __m512) -> __m512 {
        with!({
            let sum = _mm512_dpbusd_epi32(_mm512_castps_si512(sum), _mm512_castps_si512(a), _mm512_castps_si512(b));
            _mm512_castsi512_ps(sum)
        })
    }

    #[inline(always)]
    fn values<const N: usize>(self, sums: &mut [[[f32; LINE]; N]], rows: &[Scale], columns: Columns<'_>) {
        octets::values(self.0, sums, rows, columns);
    }
}
