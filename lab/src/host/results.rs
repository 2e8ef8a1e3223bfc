//! Buffers that results are copied into.

use coverslip_plugin_abi as abi;

/// Room for results, and the results that were copied into it last.
pub(crate) struct Results {
    pub(super) records: Vec<abi::TileResult>,
    pub(super) features: Vec<abi::Feature>,
    pub(super) embeddings: Vec<f32>,
    pub(super) count: usize,
}

impl Results {
    /// Room for `tiles` results. With an `embedding_width` of 0 the library leaves embeddings out.
    pub(crate) fn new(tiles: usize, features_per_tile: u32, embedding_width: u32) -> Results {
        Results {
            records: vec![abi::TileResult::default(); tiles],
            features: vec![abi::Feature::default(); tiles * features_per_tile as usize],
            embeddings: vec![0.0; tiles * embedding_width as usize],
            count: 0,
        }
    }

    /// The latest results, each with its features and its embedding.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&abi::TileResult, &[abi::Feature], &[f32])> {
        self.records[..self.count].iter().map(|record| {
            let features = record.feature_offset as usize..(record.feature_offset + record.feature_count) as usize;
            let values = record.embedding_offset as usize..(record.embedding_offset + record.embedding_count) as usize;
            (record, &self.features[features], &self.embeddings[values])
        })
    }
}
