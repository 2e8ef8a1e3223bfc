//! Cubic interpolation along one axis, as a matrix: what resampling a position embedding comes down to.

/// Which kernel, and what happens at the borders.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Cubic {
    /// Four taps with the coefficient `a`; beyond the border the border's value. PyTorch's bicubic has
    /// a = −0.75, ONNX's `Resize` states it.
    Plain {
        /// Keys' coefficient.
        a: f64,
    },
    /// PyTorch's `antialias=True`: a = −0.5, the kernel as wide as the reduction, weights normalised to 1
    /// over what lies inside.
    Antialias,
}

/// The matrix `[output, input]`, row-major. `scale` is what coordinates are computed with (half-pixel
/// centres): output over input, unless an exporter says otherwise.
pub(crate) fn cubic_matrix(input: usize, output: usize, scale: f64, kind: Cubic) -> Vec<f64> {
    let mut matrix = vec![0.0; input * output];
    for (i, row) in matrix.chunks_exact_mut(input).enumerate() {
        match kind {
            Cubic::Plain { a } => plain(row, (i as f64 + 0.5) / scale - 0.5, a),
            Cubic::Antialias => antialias(row, (i as f64 + 0.5) / scale, 1.0 / scale),
        }
    }
    matrix
}

fn plain(row: &mut [f64], position: f64, a: f64) {
    let last = row.len() as i64 - 1;
    let first = position.floor() as i64 - 1;
    for tap in first..first + 4 {
        row[tap.clamp(0, last) as usize] += keys(position - tap as f64, a);
    }
}

/// `aten/src/ATen/native/cpu/UpSampleKernel.cpp`, `_compute_indices_weights_aa`.
fn antialias(row: &mut [f64], centre: f64, reduction: f64) {
    let width = reduction.max(1.0);
    let from = (centre - 2.0 * width + 0.5).max(0.0) as usize;
    let to = ((centre + 2.0 * width + 0.5) as usize).min(row.len());
    for (tap, value) in row.iter_mut().enumerate().take(to).skip(from) {
        *value = keys((tap as f64 - centre + 0.5) / width, -0.5);
    }
    let sum: f64 = row.iter().sum();
    row.iter_mut().for_each(|value| *value /= sum);
}

/// Keys' cubic kernel (1981), with its free coefficient.
fn keys(distance: f64, a: f64) -> f64 {
    let x = distance.abs();
    if x <= 1.0 {
        ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        (((x - 5.0) * x + 8.0) * x - 4.0) * a
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first rows of what `torch.nn.functional.interpolate` (torch 2.15, float64) makes of the unit vectors.
    #[test]
    fn as_torch() {
        let plain = Cubic::Plain { a: -0.75 };
        let known = [
            (3, plain, [0.685185185, 0.37037037, -0.055555556, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0]),
            (7, plain, [1.078717201, -0.078717201, 0.0, 0.0, 0.0, 0.419825073, 0.685131195, -0.104956268, 0.0, 0.0]),
            (
                3,
                Cubic::Antialias,
                [
                    0.584615385,
                    0.446153846,
                    0.0,
                    -0.030769231,
                    0.0,
                    -0.037209302,
                    0.246511628,
                    0.581395349,
                    0.246511628,
                    -0.037209302,
                ],
            ),
            (
                7,
                Cubic::Antialias,
                [1.058252427, -0.058252427, 0.0, 0.0, 0.0, 0.440443213, 0.626038781, -0.066481994, 0.0, 0.0],
            ),
        ];
        for (output, kind, rows) in known {
            let matrix = cubic_matrix(5, output, output as f64 / 5.0, kind);
            assert_eq!(matrix.len(), 5 * output);
            for (found, expected) in matrix.iter().zip(rows) {
                assert!((found - expected).abs() < 1e-8, "{output} {kind:?}: {matrix:?}");
            }
            for row in matrix.chunks_exact(5) {
                assert!((row.iter().sum::<f64>() - 1.0).abs() < 1e-12);
            }
        }
    }
}
