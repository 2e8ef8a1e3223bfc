//! Cubic interpolation along one axis as a matrix, used to resample position embeddings.

use coverslip_bundle::budget::MAX_INTERPOLATION;
use coverslip_bundle::{BundleError, fail};

/// The kernel, and the treatment of the borders.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Cubic {
    /// Four taps with Keys' coefficient `a`; the border's value is repeated beyond the border. PyTorch's bicubic has
    /// a = −0.75; ONNX's `Resize` states it.
    Plain { a: f64 },
    /// PyTorch's `antialias=True`: a = −0.5, the kernel widened by the reduction, and the weights inside the borders
    /// normalised to sum 1.
    Antialias,
}

/// The interpolation matrix `[output, input]`, row-major. Coordinates are half-pixel centres computed with `scale`,
/// which is output / input unless an exporter states another. Both sizes come from a file.
///
/// # Errors
/// `TooLarge` where they are beyond the budget, or there is no memory.
pub(crate) fn cubic_matrix(input: usize, output: usize, scale: f64, kind: Cubic) -> Result<Vec<f64>, BundleError> {
    let size = input.checked_mul(output).filter(|size| *size <= MAX_INTERPOLATION);
    let mut matrix: Vec<f64> = Vec::new();
    let Some(size) = size.filter(|size| matrix.try_reserve_exact(*size).is_ok()) else {
        fail!(
            TooLarge,
            "an interpolation from {input} to {output} values has more factors than there is memory for, or more than \
             {MAX_INTERPOLATION}; expected fewer: resize by less"
        );
    };
    matrix.resize(size, 0.0);
    if size == 0 {
        return Ok(matrix);
    }
    for (i, row) in matrix.chunks_exact_mut(input).enumerate() {
        match kind {
            Cubic::Plain { a } => plain(row, (i as f64 + 0.5) / scale - 0.5, a),
            Cubic::Antialias => antialias(row, (i as f64 + 0.5) / scale, 1.0 / scale),
        }
    }
    Ok(matrix)
}

fn plain(row: &mut [f64], position: f64, a: f64) {
    let last = row.len() as i64 - 1;
    let first = position.floor() as i64 - 1;
    for tap in first..first + 4 {
        row[tap.clamp(0, last) as usize] += keys(position - tap as f64, a);
    }
}

/// Source: PyTorch's `aten/src/ATen/native/cpu/UpSampleKernel.cpp`, `_compute_indices_weights_aa`.
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

/// Keys' cubic kernel (1981) with the free coefficient `a`.
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

    #[test]
    fn a_matrix_of_two_cheap_axes_is_refused() {
        for (input, output) in [(150_528, 150_528), (usize::MAX, 2), (1 << 13, 1 << 12)] {
            let error = cubic_matrix(input, output, 1.0, Cubic::Antialias).unwrap_err();
            assert_eq!(error.kind(), coverslip_bundle::BundleErrorKind::TooLarge);
            assert!(error.to_string().contains(&format!("from {input} to {output} values")), "{error}");
        }
        assert!(cubic_matrix(0, 5, 1.0, Cubic::Plain { a: -0.75 }).unwrap().is_empty());
    }

    /// The expected rows are the first ones of `torch.nn.functional.interpolate` (torch 2.15, float64) for unit
    /// vectors.
    #[test]
    fn matrices_equal_torchs_interpolation() {
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
            let matrix = cubic_matrix(5, output, output as f64 / 5.0, kind).unwrap();
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
