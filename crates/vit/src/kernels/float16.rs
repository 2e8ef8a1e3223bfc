//! How float16 is summed: in float16 over a block of steps, and the blocks in float32.
//!
//! A word is a pair of values, so a sum has two lanes, the even values' and the odd ones'. Within a block a lane is
//! rounded once a step, to 11 bits: after n steps it is off by at most γ = n·u/(1 − n·u) of the sum of its terms' sizes,
//! u = 2⁻¹¹ (Higham, Accuracy and Stability of Numerical Algorithms, section 3.1), and by 2⁻²⁵ a step where it is so small that its
//! own step is 2⁻²⁴. Blocks are exact in float32, and their sums rounded to 24 bits. For [`BLOCK`] γ is 4.9 %; that is the
//! worst case. Roundings that do not know of one another grow as their number's root: a sum of terms of one size and
//! random signs is off by 0.3·u·√BLOCK, 1.4e-3 of its own deviation. Rounding both operands to bfloat16, the other half
//! precision, costs 2.2e-3, and to float16 3e-4.

/// Steps of a block at most: 384 and 768 values are two and four whole blocks.
pub(crate) const BLOCK: usize = 96;

/// u: half a unit in the last place of float16, at 1.
const HALF_UNIT: f64 = 1.0 / 2048.0;

/// γ of a block.
pub(crate) fn error_of_a_block() -> f64 {
    let roundings = BLOCK as f64 * HALF_UNIT;
    roundings / (1.0 - roundings)
}

/// What a lane is off by at most in a step where it is below 2⁻¹⁴.
pub(crate) const SUBNORMAL: f64 = 1.0 / (1 << 25) as f64;
