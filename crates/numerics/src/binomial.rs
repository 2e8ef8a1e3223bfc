//! Tails of the binomial distribution.

/// P(X ≥ `k`) of X ~ Bin(`n`, `p`), 0 < `p` < 1, `k` ≤ `n`: the terms from `k` on, until they no longer matter.
///
/// Exact to about twelve digits. A `k` of at most n · p, which is no unusual count, gives an upper bound: 1.
pub fn binomial_tail(n: u64, k: u64, p: f64) -> f64 {
    let (n, k) = (n as f64, k as f64);
    if k <= n * p {
        // The first term may be too small for a number.
        return 1.0;
    }
    // ln C(n, k), one factor at a time: k is small.
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

    /// scipy.stats.binom.sf(k - 1, n, p)
    #[test]
    fn tails_are_scipys() {
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
