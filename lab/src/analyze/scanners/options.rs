use std::path::PathBuf;

use crate::embeddings::SlideColumn;
use crate::findings::scanners::Columns;

/// Options of the analysis of scanners.
pub(crate) struct Options {
    /// Embedding files, with the scanner of all of a file's tiles where it is stated.
    pub(crate) files: Vec<(Option<String>, PathBuf)>,
    /// The folder of the findings.
    pub(crate) out: PathBuf,
    /// The column of the embeddings' tables that names the slide.
    pub(crate) slides: SlideColumn,
    pub(crate) columns: Columns,
    /// Only these taps; empty: all.
    pub(crate) taps: Vec<String>,
    /// Neighbours of the robustness index; `None`: 50, at most a tenth of the tiles.
    pub(crate) k: Option<usize>,
    /// Bootstraps of slides for the robustness index's interval.
    pub(crate) bootstraps: usize,
    /// Folds of whole groups, for probes and corrections.
    pub(crate) folds: usize,
    pub(crate) seed: u64,
}
