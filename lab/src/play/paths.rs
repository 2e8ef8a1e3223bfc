//! Paths of slides, as users give them.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// Two of the paths that are one file, however they are spelled.
pub(crate) fn twice<'a>(paths: impl IntoIterator<Item = &'a PathBuf>) -> Option<[&'a PathBuf; 2]> {
    let mut seen = BTreeMap::new();
    paths.into_iter().find_map(|path| {
        // A file that is not there is named when it is opened.
        let place = std::fs::canonicalize(path).unwrap_or_else(|_| path.clone());
        seen.insert(place, path).map(|first| [first, path])
    })
}
