//! `features.json`: where each feature fires most, how often, how strongly.

use coverslip_bundle::FeatureLabel;
use serde::{Deserialize, Serialize};

use super::absent::null_as_nan;
use super::file::Findings;
use super::reading::Sample;

/// The whole analysis.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub struct FeaturesFindings {
    #[serde(flatten)]
    pub sample: Sample,
    pub bundle: Option<String>,
    /// Features that fire at all, the most frequent first.
    pub features: Vec<FeatureProfile>,
}

impl Findings for FeaturesFindings {
    const FILE: &'static str = "features.json";
}

/// One feature.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub struct FeatureProfile {
    pub index: usize,
    pub label: Option<FeatureLabel>,
    pub tiles_firing: usize,
    pub groups_firing: usize,
    /// Least, median and largest value where it fires.
    #[serde(deserialize_with = "null_as_nan")]
    pub range: [f64; 3],
    /// The strongest tiles, from several groups.
    pub top: Vec<TopTile>,
}

/// A tile on which a feature is strong: enough to cut it out of its image again.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub struct TopTile {
    #[serde(deserialize_with = "null_as_nan")]
    pub value: f64,
    pub group: String,
    /// The image or slide file.
    pub image: String,
    pub tile: String,
    /// The scene of a file that has several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scene: Option<u32>,
    /// x, y, width and height in the image, px.
    pub place: Option<[i64; 4]>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::findings::absent::tests::each_number_may_be_absent;

    #[test]
    fn numbers_that_do_not_exist_are_read_as_they_were_written() {
        let tile = json!({ "value": 4.5, "group": "g", "image": "i", "tile": "t", "place": null });
        let whole = json!({ "dataset": "d", "tiles": 9, "groups": 3, "bundle": null, "features": [{ "index": 1,
            "label": null, "tiles_firing": 3, "groups_firing": 2, "range": [0.5, 1.5, 4.5], "top": [tile] }] });
        each_number_may_be_absent::<FeaturesFindings>(&whole, &[]);
    }
}
