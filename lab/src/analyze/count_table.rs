//! A CSV with a row per tile, and the counts in it.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use super::Failure;
use crate::embeddings::names::{COLUMNS, IMAGE, SLIDES, TILE};
use crate::embeddings::{Table, listed, open_csv, said};

/// Most columns of counts. Each is tested with every feature, in every permutation; the finest atlases of cells have some
/// hundred types.
const MOST_TYPES: usize = 256;

/// Largest number that is a count or a density, or the logarithm of one, either way. No tile has as many cells, and in sums of
/// the squares of larger numbers the differences between tiles are lost.
const LARGEST: f64 = 1e12;

/// Columns that may name the tile, in the order in which they are looked for.
const KEYS: [&str; 5] = [TILE, IMAGE, SLIDES[0], SLIDES[1], SLIDES[2]];

/// The table of counts. Its rows are labels: each names a tile.
#[derive(Debug)]
pub(super) struct CountTable {
    /// Where it is, for messages.
    place: String,
    header: Vec<String>,
    rows: Vec<Vec<String>>,
    /// The column that names the tile.
    key: usize,
}

/// One column of counts.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct CountColumn {
    pub(super) name: String,
    /// A count per row of labels.
    pub(super) values: Vec<f64>,
}

impl CountTable {
    /// Reads the table.
    ///
    /// # Errors
    /// When it cannot be read, names no tile, or names a tile or a column twice.
    pub(super) fn read(path: &Path) -> Result<CountTable, Failure> {
        let place = path.display().to_string();
        let mut reader = open_csv(path).map_err(|error| format!("{place}: {error}"))?;
        let header = reader.headers().map_err(|error| format!("{place}: {}", said(&error)))?;
        let header: Vec<String> = header.iter().map(|n| n.trim_start_matches('\u{feff}').trim().to_owned()).collect();
        let mut known = HashSet::new();
        if let Some(name) = header.iter().find(|name| !name.is_empty() && !known.insert(name.as_str())) {
            return Err(format!(
                "{place}: expected columns of different names, found {name} twice in {}; rename or remove one",
                listed(&header)
            )
            .into());
        }
        let key = KEYS.iter().find_map(|key| header.iter().position(|name| name == key)).ok_or_else(|| {
            let known = KEYS.join(", ");
            format!("{place}: expected a column that names the tiles ({known}), found {}", listed(&header))
        })?;
        let mut rows = Vec::new();
        for record in reader.records() {
            let record = record.map_err(|error| format!("{place}: {}", said(&error)))?;
            rows.push(record.iter().map(|cell| cell.trim().to_owned()).collect::<Vec<_>>());
        }
        if rows.is_empty() {
            return Err(format!("{place}: expected a row per tile, found none").into());
        }
        let mut seen = BTreeMap::new();
        for (number, row) in rows.iter().enumerate() {
            if let Some(first) = seen.insert(&row[key], number) {
                return Err(format!(
                    "{place}: {} {:?} is labelled twice, in rows {} and {}; expected each tile once",
                    header[key],
                    row[key],
                    first + 1,
                    number + 1
                )
                .into());
            }
        }
        Ok(CountTable { place, header, rows, key })
    }

    /// For each label, the row of the tile that it names.
    ///
    /// Names are compared as they stand and, if no tile matches so, without folder and extension: `a/b.jpg` is `b`.
    ///
    /// # Errors
    /// When a label matches no tile or more than one, or two match the same.
    pub(super) fn places(&self, tiles: &Table) -> Result<Vec<usize>, Failure> {
        let found = self.best_match(tiles)?;
        let place = &self.place;
        let of = |wrong: fn(usize) -> bool| -> Vec<String> {
            let names = found.iter().zip(&self.rows).filter(|(rows, _)| wrong(rows.len()));
            names.map(|(_, row)| row[self.key].clone()).collect()
        };
        let (without, several) = (of(|n| n == 0), of(|n| n > 1));
        if !without.is_empty() {
            return Err(format!(
                "{place}: {} of {} labels match no tile: {}; expected each to name a tile of the embeddings",
                without.len(),
                self.rows.len(),
                some(&without)
            )
            .into());
        }
        if !several.is_empty() {
            return Err(format!(
                "{place}: {} labels match more than one tile: {}; expected one tile each (an image that was cut into tiles \
                 needs a count for every tile)",
                several.len(),
                some(&several)
            )
            .into());
        }
        let places: Vec<usize> = found.into_iter().map(|rows| rows[0]).collect();
        let mut named: BTreeMap<usize, &str> = BTreeMap::new();
        for (tile, label) in places.iter().zip(&self.rows) {
            if let Some(first) = named.insert(*tile, &label[self.key]) {
                return Err(format!(
                    "{place}: expected one label for each tile, found {first:?} and {:?} for the same tile; remove one of \
                     them",
                    label[self.key]
                )
                .into());
            }
        }
        Ok(places)
    }

    /// For each label the tiles that it matches, in the column of the tiles' table in which most labels match one tile.
    fn best_match(&self, tiles: &Table) -> Result<Vec<Vec<usize>>, Failure> {
        let own = self.header[self.key].as_str();
        let columns = [own].into_iter().chain(KEYS.into_iter().filter(|key| *key != own));
        let mut best: Option<(usize, Vec<Vec<usize>>)> = None;
        for cells in columns.filter_map(|column| tiles.column(column)) {
            for short in [false, true] {
                let found = self.matches(cells, short);
                let hits = found.iter().filter(|rows| rows.len() == 1).count();
                if best.as_ref().is_none_or(|(most, _)| hits > *most) {
                    best = Some((hits, found));
                }
            }
        }
        let none =
            || format!("the embeddings' table has no column {}; expected one to match labels with", KEYS.join(", "));
        Ok(best.ok_or_else(none)?.1)
    }

    /// For each label the rows of `cells` with its name; `short`: without folder and extension.
    fn matches(&self, cells: &[String], short: bool) -> Vec<Vec<usize>> {
        let name = |cell: &str| if short { stem(cell).to_owned() } else { cell.to_owned() };
        let mut places: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        cells.iter().enumerate().for_each(|(row, cell)| places.entry(name(cell)).or_default().push(row));
        self.rows.iter().map(|row| places.get(&name(&row[self.key])).cloned().unwrap_or_default()).collect()
    }

    /// The cells of a column, if it is there.
    pub(super) fn column(&self, name: &str) -> Option<Vec<String>> {
        let at = self.header.iter().position(|known| known == name)?;
        Some(self.rows.iter().map(|row| row[at].clone()).collect())
    }

    /// The columns of counts: those of `types`, or all numbers except names, places and `group`.
    ///
    /// # Errors
    /// When a column is missing, has a cell that is no number of cells, is the same on every tile, none is left, or there are
    /// more than an analysis takes.
    pub(super) fn counts(&self, types: &[String], group: &str) -> Result<Vec<CountColumn>, Failure> {
        // Names and places are no counts, even where they are numbers.
        let place = |name: &str| COLUMNS.contains(&name) || KEYS.contains(&name);
        let counted = |(at, name): &(usize, &String)| !place(name) && *name != group && self.has_numbers(*at);
        let names: Vec<String> = if types.is_empty() {
            self.header.iter().enumerate().filter(counted).map(|(_, name)| name.clone()).collect()
        } else {
            types.to_vec()
        };
        if names.is_empty() {
            return Err(format!("{}: expected a column of counts, found {}", self.place, listed(&self.header)).into());
        }
        if names.len() > MOST_TYPES {
            return Err(format!(
                "{}: expected at most {MOST_TYPES} columns of counts, found {}; choose cell types with --types",
                self.place,
                names.len()
            )
            .into());
        }
        names.into_iter().map(|name| self.count(name)).collect()
    }

    /// Whether a column is one of numbers: it has one, or all that it has are numbers with a decimal comma. Those cannot be
    /// read, and to take them for text would leave the cell type out without a word.
    fn has_numbers(&self, at: usize) -> bool {
        let mut filled = self.rows.iter().map(|row| row[at].as_str()).filter(|cell| !cell.is_empty()).peekable();
        let with_commas = filled.peek().is_some() && filled.clone().all(has_decimal_comma);
        with_commas || filled.any(|cell| cell.parse::<f64>().is_ok())
    }

    fn count(&self, name: String) -> Result<CountColumn, Failure> {
        let cells = self
            .column(&name)
            .ok_or_else(|| format!("{}: expected a column {name}, found {}", self.place, listed(&self.header)))?;
        let parse = |(number, cell): (usize, &String)| {
            let expected = match cell.parse::<f64>() {
                Ok(value) if value.abs() <= LARGEST => return Ok(value),
                Ok(value) if value.is_finite() => "a number of cells or their density, at most 1e12 either way",
                _ if has_decimal_comma(cell) => "a number with a decimal point",
                _ => "a number",
            };
            Err(format!(
                "{}: {name} of {} is {cell:?}; expected {expected} (row {}; --types chooses columns)",
                self.place,
                self.rows[number][self.key],
                number + 1
            ))
        };
        let values: Vec<f64> = cells.iter().enumerate().map(parse).collect::<Result<_, _>>()?;
        if values.iter().all(|value| *value == values[0]) {
            return Err(format!(
                "{}: {name} is {} on every tile, and nothing correlates with a constant; leave it out with --types",
                self.place, values[0]
            )
            .into());
        }
        Ok(CountColumn { name, values })
    }
}

/// Whether a cell would be a number if its comma were a point.
fn has_decimal_comma(cell: &str) -> bool {
    cell.matches(',').count() == 1 && cell.replace(',', ".").parse::<f64>().is_ok()
}

/// A file's name without folder and extension.
fn stem(cell: &str) -> &str {
    let name = cell.rsplit(['/', '\\']).next().unwrap_or(cell);
    match name.rsplit_once('.') {
        Some((stem, extension)) if !stem.is_empty() && extension.len() <= 5 => stem,
        _ => name,
    }
}

/// The first few names, and how many more.
fn some(names: &[String]) -> String {
    const SHOWN: usize = 5;
    let more = names.len().saturating_sub(SHOWN);
    let shown = names[..names.len() - more].join(", ");
    if more > 0 { format!("{shown} and {more} more") } else { shown }
}
