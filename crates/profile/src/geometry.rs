//! A tap's geometry: how tissue varies within one scanner, and where scanners move it.
//!
//! With the pooled within-scanner covariance Σ (Ledoit–Wolf) in low rank, Σ = Σᵢ (λᵢ − σ²) uᵢuᵢᵀ + σ²·1, a displacement
//! y = x − mean has in whitened space the squared length yᵀΣ⁻¹y = ‖y‖²/σ² + Σᵢ (uᵢᵀy)² (1/λᵢ − 1/σ²). The scanner
//! subspace has an orthonormal basis bⱼ of whitened space; stored is wⱼ = Σ^(−1/2) bⱼ, so that the part inside it has the
//! squared length Σⱼ (wⱼᵀy)² (SCANNER_SHIFT), and what is left is outside it (NOVEL). Both squares are about χ² with as
//! many degrees of freedom as there are directions.

/// Floats that a dot product sums side by side: vectorises, and the order is fixed.
const LANES: usize = 16;

/// See the module's text. All rows are `width` long, one after the other.
#[derive(Clone, Debug, PartialEq)]
pub struct TapGeometry {
    /// The tap's name in the bundle.
    pub name: String,
    /// Values of the embedding.
    pub width: usize,
    /// λᵢ, the variances along `axes`, > 0.
    pub variances: Vec<f32>,
    /// uᵢ, orthonormal, `[variances.len(), width]`.
    pub axes: Vec<f32>,
    /// σ², the variance in every other direction, > 0.
    pub floor: f32,
    /// wⱼ, `[directions, width]`: at most scanners − 1.
    pub scanner_axes: Vec<f32>,
}

/// How far a tile lies from its scanner's tissue, in standard deviations: lengths in whitened space.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Displacement {
    /// Outside the scanner subspace: the tissue. ≥ 0.
    pub novel: f32,
    /// Inside it: the instrument. ≥ 0.
    pub scanner_shift: f32,
}

impl TapGeometry {
    /// Directions of the scanner subspace.
    pub fn scanner_rank(&self) -> usize {
        self.scanner_axes.len() / self.width.max(1)
    }

    /// Puts the directions in which scanners differ into `scanner_axes`, from an orthonormal basis of whitened space
    /// (rows of `width`): wⱼ = Σ^(−1/2) bⱼ.
    pub fn set_scanner_basis(&mut self, basis: &[f32]) {
        self.scanner_axes = basis.chunks_exact(self.width.max(1)).flat_map(|b| self.whiten(b)).collect();
    }

    /// Σ^(−1/2) y.
    pub fn whiten(&self, y: &[f32]) -> Vec<f32> {
        let outside = 1.0 / f64::from(self.floor).sqrt();
        let mut z: Vec<f64> = y.iter().map(|&v| f64::from(v) * outside).collect();
        for (axis, &variance) in self.axes.chunks_exact(self.width).zip(&self.variances) {
            let along: f64 = axis.iter().zip(y).map(|(&u, &v)| f64::from(u) * f64::from(v)).sum();
            let gain = along * (1.0 / f64::from(variance).sqrt() - outside);
            z.iter_mut().zip(axis).for_each(|(z, &u)| *z += gain * f64::from(u));
        }
        z.into_iter().map(|v| v as f32).collect()
    }

    /// The displacement of `embedding` from `mean`, both of `width` values.
    pub fn displacement(&self, mean: &[f32], embedding: &[f32]) -> Displacement {
        let floor = 1.0 / f64::from(self.floor);
        let mut total = dot_with(mean, embedding, |m, x| (x - m) * (x - m)) * floor;
        let along = |axis: &[f32]| dot_displaced(axis, mean, embedding);
        for (axis, &variance) in self.axes.chunks_exact(self.width).zip(&self.variances) {
            total += along(axis).powi(2) * (1.0 / f64::from(variance) - floor);
        }
        let inside: f64 = self.scanner_axes.chunks_exact(self.width).map(|axis| along(axis).powi(2)).sum();
        // Not f64::max, which would turn a NaN into 0.
        let rest = total - inside;
        let novel = if rest < 0.0 { 0.0 } else { rest };
        Displacement { novel: novel.sqrt() as f32, scanner_shift: inside.sqrt() as f32 }
    }
}

/// Σ f(aᵢ, bᵢ).
fn dot_with(a: &[f32], b: &[f32], f: impl Fn(f32, f32) -> f32) -> f64 {
    let mut sums = [0.0f32; LANES];
    let (wholes, rest) = (a.chunks_exact(LANES).zip(b.chunks_exact(LANES)), a.len() - a.len() % LANES);
    for (a, b) in wholes {
        for lane in 0..LANES {
            sums[lane] += f(a[lane], b[lane]);
        }
    }
    let tail: f32 = a[rest..].iter().zip(&b[rest..]).map(|(&a, &b)| f(a, b)).sum();
    f64::from(tail) + sums.into_iter().map(f64::from).sum::<f64>()
}

/// axis · (x − mean), without a place for the difference.
fn dot_displaced(axis: &[f32], mean: &[f32], x: &[f32]) -> f64 {
    let mut sums = [0.0f32; LANES];
    let rest = axis.len() - axis.len() % LANES;
    for ((axis, mean), x) in axis.chunks_exact(LANES).zip(mean.chunks_exact(LANES)).zip(x.chunks_exact(LANES)) {
        for lane in 0..LANES {
            sums[lane] += axis[lane] * (x[lane] - mean[lane]);
        }
    }
    let tail = axis[rest..].iter().zip(&mean[rest..]).zip(&x[rest..]);
    let tail: f32 = tail.map(|((&u, &m), &x)| u * (x - m)).sum();
    f64::from(tail) + sums.into_iter().map(f64::from).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Σ = diag(4, 1, 1), the scanner moves along the first axis.
    fn geometry() -> TapGeometry {
        let mut geometry = TapGeometry {
            name: "last".into(),
            width: 3,
            variances: vec![4.0],
            axes: vec![1.0, 0.0, 0.0],
            floor: 1.0,
            scanner_axes: Vec::new(),
        };
        geometry.set_scanner_basis(&[1.0, 0.0, 0.0]);
        geometry
    }

    #[test]
    fn by_hand() {
        let geometry = geometry();
        assert_eq!(geometry.scanner_axes, [0.5, 0.0, 0.0]);
        let mean = [1.0, 2.0, 3.0];
        let found = geometry.displacement(&mean, &[5.0, 2.0, 6.0]);
        assert_eq!(found, Displacement { novel: 3.0, scanner_shift: 2.0 });
        let nan = geometry.displacement(&mean, &[5.0, f32::NAN, 6.0]);
        assert!(nan.novel.is_nan() && nan.scanner_shift.is_nan());
    }

    /// Random rotations: the parts add up to the whitened length, whatever the rank, the width no multiple of the lanes.
    #[test]
    fn parts_add_up_to_the_whitened_length() {
        let (width, rank) = (37, 5);
        let mut state = 1u64;
        let mut normal = || {
            let mut unit = || {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                (state >> 40) as f64 / (1u64 << 24) as f64
            };
            (unit() + unit() + unit() + unit() - 2.0) * 3f64.sqrt()
        };
        // Gram–Schmidt over rank + 1 random rows: the axes, and a scanner direction outside them.
        let mut rows: Vec<Vec<f64>> = Vec::new();
        for _ in 0..=rank {
            let mut row: Vec<f64> = (0..width).map(|_| normal()).collect();
            for other in &rows {
                let along: f64 = row.iter().zip(other).map(|(a, b)| a * b).sum();
                row.iter_mut().zip(other).for_each(|(a, b)| *a -= along * b);
            }
            let length = row.iter().map(|a| a * a).sum::<f64>().sqrt();
            rows.push(row.into_iter().map(|a| a / length).collect());
        }
        let flat = |rows: &[Vec<f64>]| rows.iter().flatten().map(|&v| v as f32).collect::<Vec<f32>>();
        let mut geometry = TapGeometry {
            name: "last".into(),
            width,
            variances: (0..rank).map(|i| 1.0 + i as f32).collect(),
            axes: flat(&rows[..rank]),
            floor: 0.3,
            scanner_axes: Vec::new(),
        };
        let basis: Vec<f32> = [&rows[0], &rows[rank]].into_iter().flatten().map(|&v| v as f32).collect();
        geometry.set_scanner_basis(&basis);
        let (mean, x): (Vec<f32>, Vec<f32>) = (0..width).map(|_| (normal() as f32, normal() as f32)).unzip();
        let y: Vec<f32> = x.iter().zip(&mean).map(|(x, m)| x - m).collect();
        let z = geometry.whiten(&y);
        let whole: f32 = z.iter().map(|v| v * v).sum();
        let inside: f32 = basis.chunks(width).map(|b| b.iter().zip(&z).map(|(b, z)| b * z).sum::<f32>().powi(2)).sum();
        let found = geometry.displacement(&mean, &x);
        // float32 throughout: 37 terms.
        let square = |v: f32| v * v;
        assert!((square(found.scanner_shift) - inside).abs() < 1e-4 * whole, "{found:?} {inside}");
        let parts = square(found.novel) + square(found.scanner_shift);
        assert!((parts - whole).abs() < 1e-4 * whole, "{found:?} {whole}");
    }
}
