//! The column of a table that says which slide a tile is from.

use std::path::Path;

use super::csv_file::listed;
use super::error::{EmbeddingError, Result};
use super::names::SLIDES;

/// A stated column, or the first of `slide`, `slide_id` and `sample_id` that a table has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SlideColumn(Option<String>);

impl SlideColumn {
    /// The column called `name`; without a name, whichever of the three is there.
    pub fn new(name: Option<String>) -> Self {
        Self(name)
    }

    /// The column's place among the `names` of the table at `path`.
    ///
    /// # Errors
    /// When the table has no such column.
    pub(super) fn place(&self, names: &[String], path: &Path) -> Result<usize> {
        let place = |wanted: &str| names.iter().position(|name| name == wanted);
        let (found, expected) = match &self.0 {
            Some(stated) => (place(stated), format!("the column `{stated}` of --slide-column")),
            None => (
                SLIDES.into_iter().find_map(place),
                format!("a column `{}` with each tile's slide, or --slide-column NAME", SLIDES.join("`, `")),
            ),
        };
        found.ok_or_else(|| EmbeddingError::at(path, &format!("expected {expected}; found {}", listed(names))))
    }
}
