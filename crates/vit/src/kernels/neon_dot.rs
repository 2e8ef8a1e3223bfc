//! NEON with FEAT_DotProd: a word is four int8 of a row and of a weight, and `sdot` adds their products to an int32 sum.
//!
//! It multiplies int8 by int8 alone: a row's octets are its u8s less 128.

use std::arch::aarch64::*;
use std::arch::asm;

use super::Columns;
use super::entries::int8_kernels;
use super::neon::{Neon, Quarters, each};
use super::neon_fp16::NeonFp16;
use super::octets;
use super::vector::{Float32, Multiply};
use crate::panels::{LINE, Scale, Word};

/// Proof that the processor has FEAT_DotProd.
#[derive(Clone, Copy)]
pub(crate) struct NeonDot(Neon);

impl NeonDot {
    pub(crate) fn detect() -> Option<Self> {
        if std::arch::is_aarch64_feature_detected!("dotprod") { Neon::detect().map(Self) } else { None }
    }
}

int8_kernels!(NeonDot, Float32<Neon>, "neon,dotprod", rows 6, lines 1);
int8_kernels!(NeonDot, NeonFp16, "neon,fp16,dotprod", rows 6, lines 1);

/// sum + a·b. There is no stable intrinsic.
#[inline(always)]
fn sdot(a: float32x4_t, b: float32x4_t, mut sum: float32x4_t) -> float32x4_t {
    // SAFETY: whoever has a `NeonDot` has the instruction; it reads and writes registers alone.
    unsafe {
        asm!(
            ".arch_extension dotprod",
            "sdot {sum:v}.4s, {a:v}.16b, {b:v}.16b",
            sum = inout(vreg) sum, a = in(vreg) a, b = in(vreg) b,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    sum
}

impl Multiply for NeonDot {
    type Vector = Neon;
    const WORD: Word = Word::Int8Signed;

    #[inline(always)]
    fn vector(self) -> Neon {
        self.0
    }

    #[inline(always)]
    fn multiply(self, a: Quarters, b: Quarters, sum: Quarters) -> Quarters {
        each(|i| sdot(a[i], b[i], sum[i]))
    }

    #[inline(always)]
    fn values<const N: usize>(self, sums: &mut [[[f32; LINE]; N]], rows: &[Scale], columns: Columns<'_>) {
        octets::values(self.0, sums, rows, columns);
    }
}
