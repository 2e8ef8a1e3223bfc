//! Tails of the binomial distribution.

/// P(X ≥ `k`) for X ~ Bin(`n`, `p`) with 0 < `p` < 1 and `k` ≤ `n`: the sum of the terms from `k` on.
///
/// Exact to about twelve digits. For `k` ≤ n · p, which is not an unusual count, the result is the upper bound 1.
pub fn binomial_tail(n: u64, k: u64, p: f64) -> f64 {
    let (n, k) = (n as f64, k as f64);
    if k <= n * p {
        // The first term could underflow.
        return 1.0;
    }
    // ln C(n, k) factor by factor, since k is small.
    let choose: f64 = (0..k as u64).map(|i| ((n - i as f64) / (k - i as f64)).ln()).sum();
    let mut term = (choose + k * p.ln() + (n - k) * (1.0 - p).ln()).exp();
    let (mut total, mut i) = (0.0, k);
    while i <= n && term > total * 1e-17 {
        total += term;
        term *= (n - i) / (i + 1.0) * p / (1.0 - p);
        i += 1.0;
    }
    total.min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tails_by_hand() {
        // 1 − 0.9⁵; 10 · 0.1³ · 0.9² + 5 · 0.1⁴ · 0.9 + 0.1⁵.
        assert!((binomial_tail(5, 1, 0.1) - 0.409_51).abs() < 1e-12);
        assert!((binomial_tail(5, 3, 0.1) - 0.008_56).abs() < 1e-12);
        assert_eq!(binomial_tail(5, 0, 0.1), 1.0);
    }

    /// The expected values are `scipy.stats.binom.sf(k - 1, n, p)`.
    #[test]
    fn tails_equal_scipys() {
        assert!((binomial_tail(2000, 40, 0.01) - 4.811_531_715_232_038e-5).abs() < 1e-12);
        for (n, k, p, want) in [
            (134, 10, 0.01, 1.1817e-06),
            (5, 5, 0.5, 0.03125),
            (16000, 1, 0.05, 1.0),
            (20, 1, 0.01, 0.18209306),
            (1000, 30, 0.02, 0.020696519),
        ] {
            let found = binomial_tail(n, k, p);
            assert!((found / want - 1.0).abs() < 1e-5, "{n} {k} {p}: {found}, not {want}");
        }
    }
}
