//! The results of a slide, kept until it is over.

use std::collections::HashSet;

use coverslip_plugin_abi as abi;

use super::kept::Kept;
use crate::host::Results;

/// One tile's result. Its features and its embedding lie in the pools of [`Collected`].
#[derive(Debug, Clone)]
pub(crate) struct Tile {
    pub(crate) result: abi::TileResult,
    features: std::ops::Range<usize>,
    embedding: std::ops::Range<usize>,
}

/// All results of a slide.
#[derive(Debug, Clone, Default)]
pub(crate) struct Collected {
    pub(crate) tiles: Vec<Tile>,
    features: Vec<abi::Feature>,
    embeddings: Vec<f32>,
}

impl Collected {
    /// Appends a result, with what is `kept` of its embedding.
    pub(crate) fn push(
        &mut self,
        result: &abi::TileResult,
        features: &[abi::Feature],
        (kept, embedding): (&Kept, &[f32]),
    ) {
        let first_feature = self.features.len();
        let first_value = self.embeddings.len();
        self.features.extend_from_slice(features);
        kept.push((result.column, result.row), embedding, &mut self.embeddings);
        self.tiles.push(Tile {
            result: *result,
            features: first_feature..self.features.len(),
            embedding: first_value..self.embeddings.len(),
        });
    }

    /// Appends results, with what is `kept` of their embeddings.
    pub(super) fn take(&mut self, results: &Results, kept: &Kept) {
        results.iter().for_each(|(result, features, embedding)| self.push(result, features, (kept, embedding)));
    }

    pub(crate) fn features(&self, tile: &Tile) -> &[abi::Feature] {
        &self.features[tile.features.clone()]
    }

    pub(crate) fn embedding(&self, tile: &Tile) -> &[f32] {
        &self.embeddings[tile.embedding.clone()]
    }

    /// Sorts by row, column and pass: the order of every file.
    pub(crate) fn sort(&mut self) {
        self.tiles.sort_by_key(|tile| (tile.result.row, tile.result.column, tile.result.pass));
    }

    /// Results for a place and pass that had one already.
    pub(super) fn duplicates(&self) -> usize {
        let places: HashSet<_> =
            self.tiles.iter().map(|tile| (tile.result.row, tile.result.column, tile.result.pass)).collect();
        self.tiles.len() - places.len()
    }

    /// The features that vary most over the slide's analysed tiles, strongest first: (index, standard deviation).
    ///
    /// Not by sum: a feature that is active everywhere has the largest sum, and its map shows nothing.
    pub(crate) fn strongest(&self, count: usize) -> Vec<(u32, f64)> {
        let mut sums: std::collections::HashMap<u32, (f64, f64)> = std::collections::HashMap::new();
        let mut analysed = 0.0;
        for tile in self.tiles.iter().filter(|tile| tile.result.status == abi::TILE_DONE) {
            analysed += 1.0;
            for feature in self.features(tile) {
                let (sum, squares) = sums.entry(feature.index).or_default();
                *sum += f64::from(feature.value);
                *squares += f64::from(feature.value).powi(2);
            }
        }
        let deviation = |(sum, squares): (f64, f64)| (squares / analysed - (sum / analysed).powi(2)).max(0.0).sqrt();
        let mut all: Vec<(u32, f64)> = sums.into_iter().map(|(index, moments)| (index, deviation(moments))).collect();
        all.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        all.truncate(count);
        all
    }
}
