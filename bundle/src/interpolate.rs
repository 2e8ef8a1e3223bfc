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
