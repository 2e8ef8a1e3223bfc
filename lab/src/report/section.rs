//! A file of findings as a section of the page.

use std::collections::BTreeSet;

use super::gallery::Gallery;
use crate::findings::file::Findings;

/// State that sections share.
pub(super) struct Context {
    /// Features that a section names, with the bundle that numbers them.
    pub(super) named: BTreeSet<(Option<String>, usize)>,
    pub(super) gallery: Gallery,
}

pub(super) trait Section: Findings {
    /// The name of this section among others of its kind.
    fn about(&self) -> String;

    /// The section's HTML, without its heading.
    fn html(&self, context: &mut Context) -> String;
}
