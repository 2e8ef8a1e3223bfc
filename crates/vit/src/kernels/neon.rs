//! NEON: a line is four registers, and a tile of 6 × 16 takes 24 of the 32. Every aarch64 processor has it.

use std::arch::aarch64::*;

use super::entries::kernels;
use super::vector::{Float32, Integers, Vector};
use crate::panels::LINE;

/// Proof that the processor has NEON.
#[derive(Clone, Copy)]
pub(crate) struct Neon(());

impl Neon {
    pub(super) fn detect() -> Option<Self> {
        std::arch::is_aarch64_feature_detected!("neon").then_some(Self(()))
    }

    pub(crate) fn float32() -> Option<Float32<Self>> {
        Self::detect().map(Float32)
    }
}

kernels!(Float32<Neon>, "neon", rows 6, lines 1);

/// Calls an intrinsic.
macro_rules! with {
    ($call:expr) => {
        // SAFETY: `Neon` proves that the processor has the instruction; a pointer comes from a reference to a quarter of
        // a line at least.
        unsafe { $call }
    };
}
pub(super) use with;

/// A line, quarter by quarter.
pub(super) type Quarters = [float32x4_t; 4];

#[inline(always)]
pub(super) fn each(make: impl Fn(usize) -> float32x4_t) -> Quarters {
    [make(0), make(1), make(2), make(3)]
}

impl Vector for Neon {
    type Line = Quarters;

    #[inline(always)]
    fn splat(self, value: f32) -> Quarters {
        [with!(vdupq_n_f32(value)); 4]
    }

    #[inline(always)]
    fn load(self, from: &[f32; LINE]) -> Quarters {
        each(|i| with!(vld1q_f32(from[4 * i..].as_ptr())))
    }

    #[inline(always)]
    fn load_words(self, from: &[u32; LINE]) -> Quarters {
        each(|i| with!(vreinterpretq_f32_u32(vld1q_u32(from[4 * i..].as_ptr()))))
    }

    #[inline(always)]
    fn prefetch(self, _line: &[u32; LINE]) {
        // No stable intrinsic; these processors read ahead on their own.
    }

    #[inline(always)]
    fn prefetch_near<T>(self, _place: &T) {
        // As above.
    }

    #[inline(always)]
    fn store(self, line: Quarters, to: &mut [f32; LINE]) {
        for (quarter, to) in line.into_iter().zip(to.as_chunks_mut::<4>().0) {
            with!(vst1q_f32(to.as_mut_ptr(), quarter));
        }
    }

    #[inline(always)]
    fn store_words(self, line: Quarters, to: &mut [u32; LINE]) {
        for (quarter, to) in line.into_iter().zip(to.as_chunks_mut::<4>().0) {
            with!(vst1q_u32(to.as_mut_ptr(), vreinterpretq_u32_f32(quarter)));
        }
    }

    #[inline(always)]
    fn add(self, a: Quarters, b: Quarters) -> Quarters {
        each(|i| with!(vaddq_f32(a[i], b[i])))
    }

    #[inline(always)]
    fn sub(self, a: Quarters, b: Quarters) -> Quarters {
        each(|i| with!(vsubq_f32(a[i], b[i])))
    }

    #[inline(always)]
    fn mul(self, a: Quarters, b: Quarters) -> Quarters {
        each(|i| with!(vmulq_f32(a[i], b[i])))
    }

    #[inline(always)]
    fn div(self, a: Quarters, b: Quarters) -> Quarters {
        each(|i| with!(vdivq_f32(a[i], b[i])))
    }

    #[inline(always)]
    fn fma(self, a: Quarters, b: Quarters, c: Quarters) -> Quarters {
        each(|i| with!(vfmaq_f32(c[i], a[i], b[i])))
    }

    /// As on x86: b where either is NaN.
    #[inline(always)]
    fn min(self, a: Quarters, b: Quarters) -> Quarters {
        each(|i| with!(vbslq_f32(vcltq_f32(a[i], b[i]), a[i], b[i])))
    }

    #[inline(always)]
    fn max(self, a: Quarters, b: Quarters) -> Quarters {
        each(|i| with!(vbslq_f32(vcgtq_f32(a[i], b[i]), a[i], b[i])))
    }

    #[inline(always)]
    fn round(self, a: Quarters) -> Quarters {
        each(|i| with!(vrndnq_f32(a[i])))
    }

    /// Adds n to the exponent.
    #[inline(always)]
    fn scale(self, a: Quarters, n: Quarters) -> Quarters {
        each(|i| {
            with!({
                let exponent = vshlq_n_s32::<23>(vcvtnq_s32_f32(n[i]));
                vreinterpretq_f32_s32(vaddq_s32(vreinterpretq_s32_f32(a[i]), exponent))
            })
        })
    }

    #[inline(always)]
    fn first(self, a: Quarters, count: usize, rest: Quarters) -> Quarters {
        let count = count.min(LINE) as u32;
        each(|i| {
            with!({
                let lane = vaddq_u32(vld1q_u32([0, 1, 2, 3].as_ptr()), vdupq_n_u32(4 * i as u32));
                vbslq_f32(vcltq_u32(lane, vdupq_n_u32(count)), a[i], rest[i])
            })
        })
    }

    #[inline(always)]
    fn total(self, a: Quarters) -> f32 {
        with!(vaddvq_f32(vaddq_f32(vaddq_f32(a[0], a[1]), vaddq_f32(a[2], a[3]))))
    }

    #[inline(always)]
    fn largest(self, a: Quarters) -> f32 {
        with!(vmaxvq_f32(vmaxq_f32(vmaxq_f32(a[0], a[1]), vmaxq_f32(a[2], a[3]))))
    }
}

impl Integers for Neon {
    const SHIFT: i32 = 128;

    #[inline(always)]
    fn corrected(self, sums: &[f32; LINE], zero: i32, columns: &[i32; LINE]) -> Quarters {
        each(|i| {
            with!({
                let sums = vreinterpretq_s32_f32(vld1q_f32(sums[4 * i..].as_ptr()));
                let columns = vld1q_s32(columns[4 * i..].as_ptr());
                vcvtq_f32_s32(vmlsq_s32(sums, columns, vdupq_n_s32(zero)))
            })
        })
    }

    #[inline(always)]
    fn octets(self, line: Quarters, to: &mut [u32; LINE / 4]) {
        with!({
            let pair = |i: usize| {
                let low = vmovn_u32(vcvtq_u32_f32(line[i]));
                vmovn_u16(vcombine_u16(low, vmovn_u32(vcvtq_u32_f32(line[i + 1]))))
            };
            // Less 128 is the highest bit the other way round.
            let octets = veorq_u8(vcombine_u8(pair(0), pair(2)), vdupq_n_u8(0x80));
            vst1q_u32(to.as_mut_ptr(), vreinterpretq_u32_u8(octets));
        });
    }
}
