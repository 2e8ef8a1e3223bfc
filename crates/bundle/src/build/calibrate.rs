//! What is normal for the SAE: x̄, mean ‖x−x̄‖² and quantiles of the reconstruction error, stated or
//! computed from tiles.

use std::collections::BTreeMap;

use super::engine::{Composer, Engine, LoadResult};
use super::recipe::Calibration;
use crate::compose::ComposedGraph;
use crate::error::{BundleError, fail};
use crate::manifest::{Manifest, SaeReference};

/// Levels of the quantiles that are computed. More would pretend a precision that few tiles have.
const LEVELS: [&str; 4] = ["0.5", "0.9", "0.95", "0.99"];

/// Fills in figures that pass the checks while the true ones are not known yet. With a unit of 1 the
/// graph puts out ‖x−x̂‖² itself.
pub(super) fn placeholder(manifest: &mut Manifest, calibration: &Calibration) {
    if manifest.sae.architecture.is_none() {
        manifest.sae.reference = SaeReference::none();
        return;
    }
    let stated = &calibration.error_quantiles;
    let error_quantiles =
        if stated.is_empty() { LEVELS.map(|level| (level.to_owned(), 0.0)).into() } else { stated.clone() };
    manifest.sae.reference = SaeReference {
        mean_square_deviation: calibration.mean_square_deviation.unwrap_or(1.0),
        error_quantiles,
        tiles: calibration.stated_tiles,
    };
}

/// Completes `manifest.sae.reference` and returns x̄.
pub(super) fn calibrate<F: FnMut(ComposedGraph) -> LoadResult>(
    manifest: &mut Manifest,
    calibration: &Calibration,
    composer: &Composer,
    engine: &mut Engine<F>,
) -> Result<Vec<f32>, BundleError> {
    let d = manifest.sae.d_in;
    if manifest.sae.architecture.is_none() {
        return Ok(vec![0.0; d]);
    }
    if let Some(mean) = &calibration.mean
        && mean.len() != d
    {
        fail!(Invalid, "the stated mean has {} values, the SAE's input {d}", mean.len());
    }
    if let (Some(mean), Some(_), false) =
        (&calibration.mean, calibration.mean_square_deviation, calibration.error_quantiles.is_empty())
    {
        return Ok(mean.clone());
    }
    manifest.sae.reference.mean_square_deviation = 1.0;
    let n = calibration.tiles.len() / (manifest.side * manifest.side * 3);
    if n < 2 {
        fail!(
            Missing,
            "mean, mean square deviation or error quantiles of the SAE's data are not stated; expected \
             them, or at least two tiles to compute them from"
        );
    }
    let graph = composer.compose(manifest)?;
    let outputs = engine.run(manifest, graph, &calibration.tiles)?;
    // A checked manifest's SAE reads one of its taps.
    let embeddings = manifest.sae_tap().map(|tap| &outputs.embeddings[tap][..]).unwrap_or_default();
    let computed = mean(embeddings, d);
    let mean: Vec<f64> = match &calibration.mean {
        Some(mean) => mean.iter().map(|v| f64::from(*v)).collect(),
        None => computed,
    };
    let deviation = calibration.mean_square_deviation;
    let deviation = deviation.unwrap_or_else(|| mean_square_deviation(embeddings, &mean));
    let reference = &mut manifest.sae.reference;
    reference.mean_square_deviation = deviation;
    if calibration.error_quantiles.is_empty() {
        let errors = outputs.reconstruction_error.iter();
        reference.error_quantiles = quantiles(errors.map(|e| f64::from(*e) / deviation).collect());
    }
    reference.tiles = calibration.stated_tiles.max(n as u64);
    crate::limits::check(manifest)?;
    Ok(mean.into_iter().map(|v| v as f32).collect())
}

fn mean(vectors: &[f32], d: usize) -> Vec<f64> {
    let mut mean = vec![0.0; d];
    for vector in vectors.chunks_exact(d) {
        for (sum, value) in mean.iter_mut().zip(vector) {
            *sum += f64::from(*value);
        }
    }
    let n = (vectors.len() / d) as f64;
    mean.into_iter().map(|sum| sum / n).collect()
}

fn mean_square_deviation(vectors: &[f32], mean: &[f64]) -> f64 {
    let square = |vector: &[f32]| -> f64 {
        let differences = vector.iter().zip(mean).map(|(v, m)| f64::from(*v) - m);
        differences.map(|difference| difference * difference).sum()
    };
    let n = (vectors.len() / mean.len()) as f64;
    vectors.chunks_exact(mean.len()).map(square).sum::<f64>() / n
}

/// Quantiles with linear interpolation between order statistics (NumPy's default, "type 7").
fn quantiles(mut values: Vec<f64>) -> BTreeMap<String, f64> {
    values.sort_by(f64::total_cmp);
    let at = |level: &str| {
        let position = level.parse::<f64>().unwrap_or(0.0) * (values.len() - 1) as f64;
        let (below, fraction) = (position.floor() as usize, position.fract());
        let above = (below + 1).min(values.len() - 1);
        values[below] + fraction * (values[above] - values[below])
    };
    LEVELS.map(|level| (level.to_owned(), at(level))).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_numpys() {
        // np.quantile([1, 2, 3, 10], [.5, .9, .95, .99])
        let found = quantiles(vec![10.0, 1.0, 3.0, 2.0]);
        let expected = [("0.5", 2.5), ("0.9", 7.9), ("0.95", 8.95), ("0.99", 9.79)];
        for (level, value) in expected {
            assert!((found[level] - value).abs() < 1e-12, "{level}: {}", found[level]);
        }
    }

    #[test]
    fn spread_is_about_the_mean() {
        let vectors = [1.0, 0.0, 3.0, 4.0];
        assert_eq!(mean(&vectors, 2), [2.0, 2.0]);
        assert_eq!(mean_square_deviation(&vectors, &[2.0, 2.0]), 5.0);
    }
}
