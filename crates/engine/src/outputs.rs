//! From one tensor per output to one record per tile, for every engine.

use coverslip_plugin_abi::Feature;

use super::TileOutput;
use coverslip_base::error::{Result, error};
use coverslip_base::memory::grow;

/// A batch's outputs as the graph gives them: in each tensor one tile follows the other.
pub(super) struct BatchOutputs<'b> {
    /// One per tap, `[tiles, width]`.
    pub(super) embeddings: Vec<&'b [f32]>,
    /// None where the bundle has no SAE.
    pub(super) features: Option<FeatureOutputs<'b>>,
}

/// What the SAE says of a batch.
pub(super) struct FeatureOutputs<'b> {
    /// `[tiles, k]`, the strongest first.
    pub(super) index: &'b [i32],
    /// `[tiles, k]`; 0 where fewer are active.
    pub(super) value: &'b [f32],
    /// `[tiles]`
    pub(super) active: &'b [i32],
    /// `[tiles]`
    pub(super) error: &'b [f32],
}

impl BatchOutputs<'_> {
    /// Fills one record per tile; `widths` are the taps'.
    pub(super) fn scatter(&self, widths: &[usize], outputs: &mut [TileOutput]) -> Result<()> {
        let tiles = outputs.len();
        let embeddings = self.embeddings.iter().zip(widths);
        let fits = self.embeddings.len() == widths.len()
            && embeddings.clone().all(|(rows, width)| rows.len() == width * tiles)
            && self.features.as_ref().is_none_or(|features| features.fit(tiles));
        if !fits {
            return Err(error!(INTERNAL, "the graph's outputs have other types or shapes than the bundle says"));
        }
        for (tile, output) in outputs.iter_mut().enumerate() {
            output.embedding.clear();
            grow(&mut output.embedding, widths.iter().sum())?;
            for (rows, width) in embeddings.clone() {
                output.embedding.extend_from_slice(&rows[tile * width..(tile + 1) * width]);
            }
            output.features.clear();
            (output.active_count, output.reconstruction_error) = (0, f32::NAN);
            if let Some(features) = &self.features {
                grow(&mut output.features, features.index.len() / tiles)?;
                features.give(tile, tiles, output);
            }
        }
        Ok(())
    }
}

impl FeatureOutputs<'_> {
    fn fit(&self, tiles: usize) -> bool {
        self.index.len() == self.value.len()
            && self.index.len().is_multiple_of(tiles)
            && self.active.len() == tiles
            && self.error.len() == tiles
    }

    /// Fewer than k features may be active: the rest are zeros and are left out.
    fn give(&self, tile: usize, tiles: usize, output: &mut TileOutput) {
        let k = self.index.len() / tiles;
        let pairs = self.index[tile * k..(tile + 1) * k].iter().zip(&self.value[tile * k..(tile + 1) * k]);
        let active = pairs.filter(|(_, value)| **value != 0.0);
        output.features.extend(active.map(|(&index, &value)| Feature { index: index as u32, value }));
        output.active_count = self.active[tile].max(0) as u32;
        output.reconstruction_error = self.error[tile];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_tile_gets_its_rows_and_zeros_are_no_features() {
        let features = FeatureOutputs {
            index: &[7, 8, 9, 0],
            value: &[0.5, 0.25, 0.125, 0.0],
            active: &[2, 1],
            error: &[0.1, 0.2],
        };
        let mut batch = BatchOutputs { embeddings: vec![&[1.0, 2.0, 3.0, 4.0], &[5.0, 6.0]], features: Some(features) };
        let mut outputs = vec![TileOutput::default(); 2];
        batch.scatter(&[2, 1], &mut outputs).unwrap();
        assert_eq!(
            (&outputs[0].embedding[..], &outputs[1].embedding[..]),
            (&[1.0, 2.0, 5.0][..], &[3.0, 4.0, 6.0][..])
        );
        assert_eq!((outputs[0].features.len(), outputs[1].features.len()), (2, 1));
        assert_eq!((outputs[1].features[0].index, outputs[1].reconstruction_error), (9, 0.2));
        assert!(batch.scatter(&[2, 2], &mut outputs).is_err(), "another width");
        assert!(batch.scatter(&[2, 1], &mut outputs[..1]).is_err(), "another number of tiles");
        batch.features = None;
        batch.scatter(&[2, 1], &mut outputs).unwrap();
        assert!(outputs[0].features.is_empty() && outputs[0].reconstruction_error.is_nan(), "no SAE");
    }
}
