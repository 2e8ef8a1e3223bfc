//! A column of names as categories: scanners, slides, kinds of biology.

use std::collections::{BTreeMap, BTreeSet};

/// One category per row: an index into the names, which are sorted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Categories {
    codes: Vec<usize>,
    names: Vec<String>,
}

impl<S: AsRef<str>> FromIterator<S> for Categories {
    /// Rows in their order; each name is kept once, so that a column longer than memory for its text fits.
    fn from_iter<I: IntoIterator<Item = S>>(rows: I) -> Categories {
        let mut places = BTreeMap::<String, usize>::new();
        let mut codes = Vec::new();
        for name in rows {
            let name = name.as_ref();
            let next = places.len();
            codes.push(match places.get(name) {
                Some(place) => *place,
                None => *places.entry(name.to_owned()).or_insert(next),
            });
        }
        // From the order of first appearance to that of the names.
        let mut sorted = vec![0; places.len()];
        places.values().enumerate().for_each(|(code, place)| sorted[*place] = code);
        codes.iter_mut().for_each(|code| *code = sorted[*code]);
        Categories { codes, names: places.into_keys().collect() }
    }
}

impl Categories {
    /// Categories of the rows' names, in the order of the rows.
    pub fn new<S: AsRef<str>>(names: &[S]) -> Categories {
        names.iter().map(AsRef::as_ref).collect()
    }

    /// The categories of some rows. Names without a row are left out.
    pub fn select(&self, rows: &[usize]) -> Categories {
        rows.iter().map(|&row| self.name(row)).collect()
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.codes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.codes.is_empty()
    }

    /// The number of different categories.
    pub fn kinds(&self) -> usize {
        self.names.len()
    }

    /// Each row's category, as an index into [`Categories::names`].
    pub fn codes(&self) -> &[usize] {
        &self.codes
    }

    /// The different names, sorted.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The name of a row's category.
    pub fn name(&self, row: usize) -> &str {
        &self.names[self.codes[row]]
    }

    /// The rows of each category.
    pub fn rows(&self) -> Vec<Vec<usize>> {
        let mut rows = vec![Vec::new(); self.names.len()];
        self.codes.iter().enumerate().for_each(|(row, &code)| rows[code].push(row));
        rows
    }

    /// How many different categories of `inner` the rows of each category have.
    pub(crate) fn kinds_within(&self, inner: &Categories) -> Vec<usize> {
        let mut seen = vec![BTreeSet::new(); self.kinds()];
        self.codes.iter().zip(&inner.codes).for_each(|(&outer, &kind)| {
            seen[outer].insert(kind);
        });
        seen.into_iter().map(|kinds| kinds.len()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn categories_are_sorted_and_selected() {
        let categories = Categories::new(&["b", "a", "b", "c"]);
        assert_eq!((categories.codes(), categories.kinds()), (&[1, 0, 1, 2][..], 3));
        assert_eq!(categories.rows(), [vec![1], vec![0, 2], vec![3]]);
        let some = categories.select(&[3, 0]);
        assert_eq!((some.codes(), some.names().len(), some.name(0)), (&[1, 0][..], 2, "c"));
    }
}
