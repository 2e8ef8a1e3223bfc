//! Options that the analyses of counts share.

use std::path::PathBuf;

use crate::embeddings::SlideColumn;

/// The counts, and how they are analysed.
pub(crate) struct CountOptions {
    pub(crate) labels: LabelOptions,
    pub(crate) method: Method,
}

/// The table of counts, and which tiles belong together.
#[derive(Debug, Clone)]
pub(crate) struct LabelOptions {
    pub(crate) path: PathBuf,
    /// The column of the embeddings' table that names the slide.
    pub(crate) slides: SlideColumn,
    /// The column, of the embeddings' table or of the labels, whose equal values make a group.
    pub(crate) group: String,
    /// Groups are equal up to the last such character.
    pub(crate) cut: Option<char>,
    /// Columns of counts; empty: all that are numbers.
    pub(crate) types: Vec<String>,
    pub(crate) dataset: Option<String>,
}

impl LabelOptions {
    /// The data set's name: stated, or that of the table's folder.
    pub(super) fn name(&self) -> String {
        let folder =
            std::path::absolute(&self.path).ok().and_then(|path| path.parent()?.file_name().map(|n| n.to_owned()));
        let folder = folder.map(|name| name.to_string_lossy().into_owned());
        self.dataset.clone().or(folder).unwrap_or_else(|| "unnamed".into())
    }
}

/// What decides the numbers, beside the data.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Method {
    /// Features that fire in fewer groups are left out.
    pub(crate) least_groups: usize,
    /// Permutations of whole groups behind each p.
    pub(crate) permutations: usize,
    /// Resamples of whole groups behind each interval.
    pub(crate) resamples: usize,
    pub(crate) seed: u64,
}
