//! The tiles that are compared: embedding files, one after the other, and the categories of their rows.

use std::collections::HashMap;

use coverslip_analysis::{Categories, SparseRows};
use faer::Mat;

use super::options::Options;
use crate::analyze::Failure;
use crate::analyze::kinds::check_few;
use crate::embeddings::{EmbeddingSet, stacked};

/// Rows of all files with their categories.
pub(super) struct Material {
    sets: Vec<EmbeddingSet>,
    pub(super) scanners: Categories,
    pub(super) groups: Categories,
    pub(super) biology: Option<Categories>,
    /// For each two scanners: names, and the rows of the places that both have, in the same order.
    pub(super) pairs: Vec<Pairing>,
}

/// The same places on two scanners.
pub(super) struct Pairing {
    pub(super) scanners: [String; 2],
    pub(super) rows: [Vec<usize>; 2],
}

/// The active features of all rows.
pub(super) struct ActiveFeatures {
    ends: Vec<usize>,
    index: Vec<u32>,
    value: Vec<f32>,
}

impl ActiveFeatures {
    pub(super) fn rows(&self) -> SparseRows<'_> {
        SparseRows { ends: &self.ends, index: &self.index, value: &self.value }
    }
}

impl Material {
    pub(super) fn open(options: &Options) -> Result<Material, Failure> {
        let (mut sets, mut scanners, mut groups) = (Vec::new(), Vec::new(), Vec::new());
        let (mut biology, mut places) = (Vec::new(), Vec::new());
        let columns = &options.columns;
        for (scanner, path) in &options.files {
            let set = EmbeddingSet::open(path, &options.slides)?;
            match scanner {
                Some(scanner) => scanners.extend(vec![scanner.to_owned(); set.len()]),
                None => scanners.extend_from_slice(set.filled_column(&columns.scanner)?),
            }
            groups.extend_from_slice(set.filled_column(&columns.group)?);
            if let Some(name) = &columns.biology {
                biology.extend_from_slice(set.kinds_column(name)?);
            }
            if let Some(name) = &columns.pair {
                places.extend_from_slice(set.filled_column(name)?);
            }
            sets.push(set);
        }
        let scanners = Categories::new(&scanners);
        if scanners.kinds() < 2 {
            return Err(format!(
                "expected tiles of two scanners or more, found only `{}`. Give one file per scanner as SCANNER=FILE, or \
                 the column that names it with --scanner",
                scanners.names().join("")
            )
            .into());
        }
        check_few(&columns.scanner, "scanners", &scanners)?;
        let biology = columns.biology.as_ref().map(|_| Categories::new(&biology));
        if let (Some(name), Some(biology)) = (&columns.biology, &biology) {
            check_few(name, "kinds of biology", biology)?;
        }
        let pairs = if places.is_empty() { Vec::new() } else { pairings(&scanners, &places)? };
        Ok(Material { sets, scanners, groups: Categories::new(&groups), biology, pairs })
    }

    /// Tiles.
    pub(super) fn len(&self) -> usize {
        self.scanners.len()
    }

    /// Names and widths of the taps that every file has, shallow ones first (`block2` before `block10`); or of
    /// those wanted.
    pub(super) fn taps(&self, wanted: &[String]) -> Result<Vec<(String, usize)>, Failure> {
        let mut common: Vec<(String, usize)> =
            self.sets[0].taps().iter().map(|tap| (tap.name.clone(), tap.width)).collect();
        for set in &self.sets[1..] {
            common.retain(|(name, width)| set.taps().iter().any(|tap| tap.name == *name && tap.width == *width));
        }
        let names: Vec<&str> = common.iter().map(|tap| tap.0.as_str()).collect();
        if let Some(missing) = wanted.iter().find(|name| !names.contains(&name.as_str())) {
            return Err(
                format!("expected the tap {missing} in every file, found {} in all of them", names.join(", ")).into()
            );
        }
        if common.is_empty() {
            return Err("expected a tap that all files have, with one width; found none. Embed all tiles with one \
                        bundle"
                .into());
        }
        common.sort_by_key(|tap| depth_key(&tap.0));
        Ok(common.into_iter().filter(|tap| wanted.is_empty() || wanted.contains(&tap.0)).collect())
    }

    /// Every row of a tap.
    pub(super) fn matrix(&self, tap: &str) -> Result<Mat<f64>, Failure> {
        Ok(stacked(&self.sets, tap)?)
    }

    /// SAE features, where every file has them.
    pub(super) fn features(&self) -> Result<Option<ActiveFeatures>, Failure> {
        let mut all = ActiveFeatures { ends: Vec::new(), index: Vec::new(), value: Vec::new() };
        for set in &self.sets {
            let Some(features) = set.features()? else { return Ok(None) };
            for tile in 0..set.len() {
                for (index, value) in features.active(tile) {
                    all.index.push(index as u32);
                    all.value.push(value);
                }
                all.ends.push(all.index.len());
            }
        }
        Ok(Some(all))
    }
}

/// A name as text and numbers in turn, so that names sort as people count.
fn depth_key(name: &str) -> Vec<(String, u64)> {
    let mut parts = vec![(String::new(), 0_u64)];
    let mut in_number = false;
    for letter in name.chars() {
        let last = parts.len() - 1;
        match letter.to_digit(10) {
            Some(digit) => {
                in_number = true;
                parts[last].1 = parts[last].1.saturating_mul(10).saturating_add(u64::from(digit));
            }
            None if in_number => {
                in_number = false;
                parts.push((letter.to_string(), 0));
            }
            None => parts[last].0.push(letter),
        }
    }
    parts
}

/// Every two scanners with two or more places in common.
fn pairings(scanners: &Categories, places: &[String]) -> Result<Vec<Pairing>, String> {
    let mut rows: Vec<HashMap<&str, usize>> = vec![HashMap::new(); scanners.kinds()];
    for (row, place) in places.iter().enumerate() {
        let scanner = scanners.codes()[row];
        if rows[scanner].insert(place, row).is_some() {
            return Err(format!(
                "expected each place once on a scanner, found {place} twice on {}. The column of --pair has to tell \
                 every tile of a scanner from its others",
                scanners.names()[scanner]
            ));
        }
    }
    let mut pairings = Vec::new();
    for first in 0..rows.len() {
        for second in first + 1..rows.len() {
            let mut common: Vec<&str> =
                rows[first].keys().copied().filter(|place| rows[second].contains_key(place)).collect();
            common.sort_unstable();
            if common.len() >= 2 {
                let of = |scanner: usize| common.iter().map(|place| rows[scanner][place]).collect();
                let names = [first, second].map(|scanner| scanners.names()[scanner].clone());
                pairings.push(Pairing { scanners: names, rows: [of(first), of(second)] });
            }
        }
    }
    if pairings.is_empty() {
        return Err("--pair: expected two scanners with two places in common or more, found none".into());
    }
    Ok(pairings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deep_taps_come_last() {
        let mut names = ["block10.cls", "block2.cls", "norm", "block2.mean"];
        names.sort_by_key(|name| depth_key(name));
        assert_eq!(names, ["block2.cls", "block2.mean", "block10.cls", "norm"]);
    }

    #[test]
    fn places_are_matched_whatever_their_order() {
        let scanners = Categories::new(&["a", "a", "a", "b", "b", "c"]);
        let places = ["1", "2", "3", "2", "1", "1"].map(String::from);
        let found = pairings(&scanners, &places).unwrap();
        assert_eq!(found.len(), 1, "c has one place only");
        assert_eq!(found[0].rows, [vec![0, 1], vec![4, 3]]);
        let twice = ["1", "1", "3", "2", "1", "1"].map(String::from);
        assert!(pairings(&scanners, &twice).err().unwrap().contains("found 1 twice on a"));
        let none = ["1", "2", "3", "4", "5", "6"].map(String::from);
        assert!(pairings(&scanners, &none).is_err());
    }
}
