//! What a bundle has in int8, and how far its outputs are from float32's.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// The mix of a ViT's layers that a CPU engine may run in int8. The factors of its norms are in [`crate::INT8_FILE`].
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Int8 {
    /// How the layers are multiplied that are not in int8.
    pub rest: Int8Rest,
    /// Block by block, the layers in int8.
    pub layers: Vec<BTreeSet<Int8Layer>>,
    /// What was measured with this mix.
    pub gate: Int8Gate,
}

/// How the layers are multiplied that are not in int8.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Int8Rest {
    /// In float32.
    Float32,
    /// In the processor's half precision, where it has one that is worth it, else in float32.
    Half,
}

/// A layer that may be in int8.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Int8Layer {
    /// Queries, keys and values.
    Qkv,
    /// The projection after attention.
    Proj,
    /// The MLP's first layer, with its gate.
    Fc1,
    /// The MLP's second layer.
    Fc2,
}

impl Int8Layer {
    /// All of a block.
    pub const ALL: [Int8Layer; 4] = [Self::Qkv, Self::Proj, Self::Fc1, Self::Fc2];
}

/// How near the mix is to float32, on tiles of slides that had no part in making it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Int8Gate {
    /// Slides, and tiles of all of them.
    pub slides: usize,
    pub tiles: usize,
    /// Share of float32's reported features that the mix reports too: the mean of the slides' means.
    pub overlap: f64,
    /// The same of the tile at the 5th percentile.
    pub overlap_low: f64,
    /// The same as [`Self::overlap`], each feature with its value.
    pub value_overlap: f64,
    /// Share of the flags that read the model and are raised by one of both alone.
    pub flags_changed: f64,
    /// The kernels that it was measured with.
    pub kernels: String,
}

impl Int8Gate {
    /// The least [`Self::overlap`].
    pub const OVERLAP: f64 = 0.95;
    /// The least [`Self::overlap_low`].
    pub const OVERLAP_LOW: f64 = 0.90;
    /// The least [`Self::value_overlap`].
    pub const VALUE_OVERLAP: f64 = 0.98;
    /// The most [`Self::flags_changed`].
    pub const FLAGS_CHANGED: f64 = 0.005;

    /// Why the mix is not offered; `None`: it passes. A figure that is no number does not pass.
    pub fn refusal(&self) -> Option<String> {
        let least = |what: &str, found: f64, least: f64| {
            (found.is_nan() || found < least).then(|| format!("{what} is {found:.3}, expected at least {least}"))
        };
        let changed = self.flags_changed;
        least("the mean overlap of the reported features with float32's", self.overlap, Self::OVERLAP)
            .or_else(|| least("the overlap's 5th percentile", self.overlap_low, Self::OVERLAP_LOW))
            .or_else(|| least("the overlap weighted by value", self.value_overlap, Self::VALUE_OVERLAP))
            .or_else(|| {
                let most = Self::FLAGS_CHANGED;
                (changed.is_nan() || changed > most)
                    .then(|| format!("the share of raised flags that change is {changed:.4}, expected at most {most}"))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_figure_can_refuse_alone() {
        let passes = Int8Gate {
            slides: 3,
            tiles: 90,
            overlap: 0.95,
            overlap_low: 0.9,
            value_overlap: 0.98,
            flags_changed: 0.005,
            kernels: "plain".into(),
        };
        assert_eq!(passes.refusal(), None);
        type Set = fn(&mut Int8Gate, f64);
        let worse: [(&str, Set); 4] = [
            ("mean overlap", |gate, by| gate.overlap -= by),
            ("5th percentile", |gate, by| gate.overlap_low -= by),
            ("weighted by value", |gate, by| gate.value_overlap -= by),
            ("flags", |gate, by| gate.flags_changed += by),
        ];
        for (what, change) in worse {
            for by in [0.001, f64::NAN] {
                let mut gate = passes.clone();
                change(&mut gate, by);
                assert!(gate.refusal().is_some_and(|reason| reason.contains(what)), "{what} {by}");
            }
        }
    }
}
