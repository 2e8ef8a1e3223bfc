//! AVX-VNNI: the same on processors without AVX-512, in two registers a line.

use std::arch::x86_64::*;

use super::Columns;
use super::avx2::{Avx2, with};
use super::entries::int8_kernels;
use super::octets;
use super::vector::{Float32, Multiply};
use crate::panels::{LINE, Scale, Word};

/// Proof that the processor has AVX-VNNI.
#[derive(Clone, Copy)]
pub(crate) struct Vnni256(Avx2);

impl Vnni256 {
    pub(crate) fn detect() -> Option<Self> {
        if is_x86_feature_detected!("avxvnni") { Avx2::detect().map(Self) } else { None }
    }
}

int8_kernels!(Vnni256, Float32<Avx2>, "avxvnni,avx2,fma", rows 6, lines 1);

impl Multiply for Vnni256 {
    type Vector = Avx2;
    const WORD: Word = Word::Int8;

    #[inline(always)]
    fn vector(self) -> Avx2 {
        self.0
    }

    #[inline(always)]
    fn multiply(self, a: [__m256; 2], b: [__m256; 2], sum: [__m256; 2]) -> [__m256; 2] {
        let half = |i: usize| {
            with!({
                let (a, b) = (_mm256_castps_si256(a[i]), _mm256_castps_si256(b[i]));
                _mm256_castsi256_ps(_mm256_dpbusd_avx_epi32(_mm256_castps_si256(sum[i]), a, b))
            })
        };
        [half(0), half(1)]
    }

    #[inline(always)]
    fn values<const N: usize>(self, sums: &mut [[[f32; LINE]; N]], rows: &[Scale], columns: Columns<'_>) {
        octets::values(self.0, sums, rows, columns);
    }
}
