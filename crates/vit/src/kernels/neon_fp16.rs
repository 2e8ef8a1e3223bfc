//! NEON with FEAT_FP16: a word is a pair of float16, and `fmla` adds both products to a pair of float16 sums, which
//! become float32 block by block.

use std::arch::aarch64::*;
use std::arch::asm;

use super::entries::kernels;
use super::float16::BLOCK;
use super::neon::{Neon, Quarters, each, with};
use super::vector::{Multiply, Product};
use crate::panels::{LINE, Word};

/// Proof that the processor has FEAT_FP16.
#[derive(Clone, Copy)]
pub(crate) struct NeonFp16(Neon);

impl NeonFp16 {
    pub(crate) fn detect() -> Option<Self> {
        if std::arch::is_aarch64_feature_detected!("fp16") { Neon::detect().map(Self) } else { None }
    }
}

kernels!(NeonFp16, "neon,fp16", rows 6, lines 1);

/// sum + a·b of 8 float16s, each rounded once. The intrinsic is inlined only where its caller names the features, and a
/// method of a trait cannot.
#[inline(always)]
fn fmla(a: float32x4_t, b: float32x4_t, mut sum: float32x4_t) -> float32x4_t {
    // SAFETY: whoever has a `NeonFp16` has the instruction; it reads and writes registers alone.
    unsafe {
        asm!(
            ".arch_extension fp16",
            "fmla {sum:v}.8h, {a:v}.8h, {b:v}.8h",
            sum = inout(vreg) sum, a = in(vreg) a, b = in(vreg) b,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    sum
}

impl Multiply for NeonFp16 {
    type Vector = Neon;
    const WORD: Word = Word::Float16;
    const BLOCK: Option<usize> = Some(BLOCK);

    #[inline(always)]
    fn vector(self) -> Neon {
        self.0
    }

    #[inline(always)]
    fn multiply(self, a: Quarters, b: Quarters, sum: Quarters) -> Quarters {
        each(|i| fmla(a[i], b[i], sum[i]))
    }

    /// even + odd of every word.
    #[inline(always)]
    fn widen(self, sums: Quarters) -> Quarters {
        each(|i| {
            with!({
                let pairs = vreinterpretq_f16_f32(sums[i]);
                vpaddq_f32(vcvt_f32_f16(vget_low_f16(pairs)), vcvt_high_f32_f16(pairs))
            })
        })
    }
}

/// 4 float16s.
#[inline(always)]
fn narrowed(quarter: float32x4_t) -> uint16x4_t {
    with!(vreinterpret_u16_f16(vcvt_f16_f32(quarter)))
}

impl Product for NeonFp16 {
    #[inline(always)]
    fn narrow(self, line: Quarters, to: &mut [u32]) {
        for (quarter, to) in line.into_iter().zip(to.as_chunks_mut::<{ LINE / 8 }>().0) {
            with!(vst1_u32(to.as_mut_ptr(), vreinterpret_u32_u16(narrowed(quarter))));
        }
    }

    #[inline(always)]
    fn stack(self, even: Quarters, odd: Quarters, to: &mut [u32; LINE]) {
        for ((even, odd), to) in even.into_iter().zip(odd).zip(to.as_chunks_mut::<4>().0) {
            with!({
                let (even, odd) = (vmovl_u16(narrowed(even)), vmovl_u16(narrowed(odd)));
                vst1q_u32(to.as_mut_ptr(), vorrq_u32(even, vshlq_n_u32::<16>(odd)));
            });
        }
    }
}
