//! Which slides, or patients, an SAE is not trained on.

use std::path::Path;

use coverslip_analysis::random::Random;
use serde::{Deserialize, Serialize};

use crate::embeddings::{EmbeddingError, Result};

/// The held-out slides. They are written beside the SAE, which is measured on them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Split {
    pub(super) held_out: Vec<String>,
    /// The column that they are values of, where it is not the slides'.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) grouped_by: Option<String>,
}

impl Split {
    /// Its name beside the SAE.
    pub(super) const FILE: &str = "split.json";

    /// Draws `part` of the slides: at least one where `part` is above 0, and never all.
    pub(super) fn draw(slides: &[String], part: f64, seed: u64) -> Result<Self> {
        let mut drawn: Vec<String> = slides.to_vec();
        drawn.sort();
        Random::new(seed).shuffle(&mut drawn);
        let count = (part * drawn.len() as f64).round() as usize;
        let count = if part > 0.0 { count.clamp(1, drawn.len()) } else { 0 };
        if count == drawn.len() {
            return Err(EmbeddingError(format!(
                "expected at least two slides, to train on some and measure on others, found {} ({}); give --held-out 0 to \
                 train on all and measure on none",
                slides.len(),
                slides.join(", ")
            )));
        }
        drawn.truncate(count);
        drawn.sort();
        Ok(Self { held_out: drawn, grouped_by: None })
    }

    /// Reads the file.
    ///
    /// # Errors
    /// When it is missing or damaged.
    pub(super) fn read(path: &Path) -> Result<Self> {
        let refused = |error: &dyn std::fmt::Display| {
            EmbeddingError(format!(
                "{}: expected the held-out slides as `sae train` writes them ({{\"held_out\": [...]}}), found: {error}",
                path.display()
            ))
        };
        const MOST: u64 = 64 << 20;
        let bytes = coverslip_files::read_at_most(path, MOST).map_err(|error| refused(&error))?;
        coverslip_bundle::json::parse(&bytes).map_err(|error| refused(&error))
    }
}
