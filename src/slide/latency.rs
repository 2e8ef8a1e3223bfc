//! A histogram of latencies in fixed memory: eight buckets per octave, so a quantile is right to 12 %.

const PER_OCTAVE: u32 = 8;
/// 2^40 ns is eighteen minutes; what is slower counts there.
const OCTAVES: usize = 40;

/// Counts of durations in nanoseconds.
#[derive(Clone, Copy)]
pub(crate) struct Latencies {
    buckets: [u64; OCTAVES * PER_OCTAVE as usize],
    total: u64,
}

impl Default for Latencies {
    fn default() -> Self {
        Latencies { buckets: [0; OCTAVES * PER_OCTAVE as usize], total: 0 }
    }
}

impl Latencies {
    pub(crate) fn add(&mut self, ns: u64) {
        let octave = ns.max(8).ilog2();
        // The three bits below the leading one.
        let part = (ns.max(8) >> (octave - 3)) & 7;
        let bucket = (octave * PER_OCTAVE) as usize + part as usize;
        self.buckets[bucket.min(OCTAVES * PER_OCTAVE as usize - 1)] += 1;
        self.total += 1;
    }

    /// The upper edge of the bucket in which the quantile `q` (0..=1) lies; 0 without data.
    pub(crate) fn quantile(&self, q: f64) -> u64 {
        let rank = (q * self.total as f64).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (bucket, &count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= rank {
                let (octave, part) = (bucket as u32 / PER_OCTAVE, bucket as u64 % 8);
                return if octave < 3 { 8 } else { (9 + part) << (octave - 3) };
            }
        }
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_within_an_eighth() {
        let mut latencies = Latencies::default();
        (1..=10_000u64).for_each(|i| latencies.add(i * 1000));
        for q in [0.01, 0.5, 0.99, 1.0] {
            let (exact, found) = (q * 1e7, latencies.quantile(q) as f64);
            assert!(found >= exact && found <= exact * 1.13, "{q}: {found} for {exact}");
        }
        assert_eq!(Latencies::default().quantile(0.5), 0);
    }
}
