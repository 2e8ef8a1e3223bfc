//! The table beside the embeddings: a row per tile.

use std::collections::HashMap;
use std::path::Path;

use super::file::named;
use super::{EmbeddingError, Result};

/// A table of text, by columns.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Rows {
    names: Vec<String>,
    columns: Vec<Vec<String>>,
    len: usize,
}

impl Rows {
    /// A table of columns of equal length.
    pub(super) fn new(names: Vec<String>, columns: Vec<Vec<String>>, len: usize) -> Self {
        Self { names, columns, len }
    }

    /// Reads a CSV with a header.
    pub(super) fn read_csv(path: &Path) -> Result<Self> {
        let mut reader = open(path)?;
        let names: Vec<String> = header(&mut reader, path)?;
        let mut columns = vec![Vec::new(); names.len()];
        let mut len = 0;
        let mut record = csv::StringRecord::new();
        while reader.read_record(&mut record).map_err(|error| named(path, &error))? {
            for (column, cell) in columns.iter_mut().zip(&record) {
                column.push(cell.to_owned());
            }
            len += 1;
        }
        Ok(Self { names, columns, len })
    }

    /// Rows.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The columns' names, in the file's order.
    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }

    /// The column `name`, if there.
    pub(crate) fn column(&self, name: &str) -> Option<&[String]> {
        let at = self.names.iter().position(|known| known == name)?;
        Some(&self.columns[at])
    }

    /// The column `name` as numbers, NaN where a cell is empty; `None` where there is no such column.
    ///
    /// # Errors
    /// When a cell is neither empty nor a number.
    pub(crate) fn number(&self, name: &str) -> Result<Option<Vec<f64>>> {
        let Some(cells) = self.column(name) else { return Ok(None) };
        let parse = |(row, cell): (usize, &String)| match cell.trim() {
            "" => Ok(f64::NAN),
            text => text.parse().map_err(|_| {
                EmbeddingError(format!("column {name}, row {row} (counted from 0): expected a number, found {text:?}"))
            }),
        };
        cells.iter().enumerate().map(parse).collect::<Result<_>>().map(Some)
    }

    /// The column `name`, which has to be there.
    pub(super) fn require(&self, name: &str, path: &Path) -> Result<&[String]> {
        self.column(name).ok_or_else(|| missing(path, name, &self.names))
    }
}

/// A column as groups: tiles of one slide, for instance.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Groups {
    /// The groups, in the order in which they first appear.
    pub(crate) names: Vec<String>,
    /// Each row's group, an index into `names`.
    pub(crate) of: Vec<u32>,
}

impl Groups {
    /// Groups equal cells.
    pub(crate) fn of(cells: &[String]) -> Self {
        let mut places = HashMap::new();
        let mut groups = Self { names: Vec::new(), of: Vec::with_capacity(cells.len()) };
        cells.iter().for_each(|cell| groups.push(cell, &mut places));
        groups
    }

    /// Reads one column of a CSV.
    pub(super) fn read_csv(path: &Path, name: &str) -> Result<Self> {
        let mut reader = open(path)?;
        let names = header(&mut reader, path)?;
        let at = names.iter().position(|known| known == name).ok_or_else(|| missing(path, name, &names))?;
        let mut places = HashMap::new();
        let mut groups = Self { names: Vec::new(), of: Vec::new() };
        let mut record = csv::StringRecord::new();
        while reader.read_record(&mut record).map_err(|error| named(path, &error))? {
            groups.push(record.get(at).unwrap_or_default(), &mut places);
        }
        Ok(groups)
    }

    fn push(&mut self, cell: &str, places: &mut HashMap<String, u32>) {
        let place = match places.get(cell) {
            Some(place) => *place,
            None => {
                let place = self.names.len() as u32;
                self.names.push(cell.to_owned());
                places.insert(cell.to_owned(), place);
                place
            }
        };
        self.of.push(place);
    }
}

fn open(path: &Path) -> Result<csv::Reader<std::fs::File>> {
    csv::ReaderBuilder::new().from_path(path).map_err(|error| {
        named(
            path,
            &format!(
                "expected the table of the tiles beside the embeddings (CSV with a column `slide`), found: {error}"
            ),
        )
    })
}

fn header(reader: &mut csv::Reader<std::fs::File>, path: &Path) -> Result<Vec<String>> {
    let header = reader.headers().map_err(|error| named(path, &error))?;
    // A byte order mark is what spreadsheets put before the first name.
    Ok(header.iter().map(|name| name.trim_start_matches('\u{feff}').trim().to_owned()).collect())
}

fn missing(path: &Path, name: &str, found: &[String]) -> EmbeddingError {
    named(path, &format!("expected a column `{name}`, found {}", found.join(", ")))
}
