//! exp, erf, GELU and SiLU of a line. NaN stays NaN, so that a broken tile is seen.

use super::vector::Vector;

/// e^x within 2 units in the last place from −86 to 88; beyond, the value at that end.
#[inline(always)]
fn exp<V: Vector>(v: V, x: V::Line) -> V::Line {
    exp_of_negative(v, v.min(v.splat(88.0), x))
}

/// The same of x ≤ 88, as of all that is not positive.
#[inline(always)]
pub(super) fn exp_of_negative<V: Vector>(v: V, x: V::Line) -> V::Line {
    let x = v.max(v.splat(-86.0), x);
    let n = v.round(v.mul(x, v.splat(std::f32::consts::LOG2_E)));
    // ln 2 in two parts, of which the first times n is exact.
    let r = v.fma(n, v.splat(-0.693_359_4), x);
    let r = v.fma(n, v.splat(2.121_944_4e-4), r);
    // Cephes' expf: e^r − 1 − r = r²·P(r).
    let mut p = v.splat(1.987_569_1e-4);
    for c in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        p = v.fma(p, r, v.splat(c));
    }
    let p = v.fma(v.mul(r, r), p, v.add(r, v.splat(1.0)));
    v.scale(p, n)
}

/// erf x within 3e-7: Eigen's rational approximation, x·P(x²)/Q(x²) up to where float32's erf is 1.
#[inline(always)]
fn erf<V: Vector>(v: V, x: V::Line) -> V::Line {
    let x = v.min(v.splat(4.0), v.max(v.splat(-4.0), x));
    let square = v.mul(x, x);
    let mut p = v.splat(-2.726_142_4e-10);
    for c in [2.770_681_4e-8, -2.101_024e-6, -5.692_507e-5, -7.349_906e-4, -2.954_6e-3, -1.609_603_3e-2] {
        p = v.fma(p, square, v.splat(c));
    }
    let mut q = v.splat(-1.456_607_2e-5);
    for c in [-2.133_740_6e-4, -1.682_827e-3, -7.373_329e-3, -1.426_473_9e-2] {
        q = v.fma(q, square, v.splat(c));
    }
    v.div(v.mul(x, p), q)
}

/// x·Φ(x), as x/2·(1 + erf(x/√2)).
#[inline(always)]
pub(super) fn gelu<V: Vector>(v: V, x: V::Line) -> V::Line {
    let half = v.mul(x, v.splat(0.5));
    v.fma(half, erf(v, v.mul(x, v.splat(std::f32::consts::FRAC_1_SQRT_2))), half)
}

/// x/(1 + e^−x).
#[inline(always)]
pub(super) fn silu<V: Vector>(v: V, x: V::Line) -> V::Line {
    v.div(x, v.add(v.splat(1.0), exp(v, v.sub(v.splat(0.0), x))))
}
