//! The table beside the embeddings: a row per tile.

use std::fs::File;
use std::path::Path;

use coverslip_analysis::Categories;

use super::csv_file::{Bounded, open_csv, said};
use super::error::{EmbeddingError, Result};
use super::names::SLIDE;
use super::slide_column::SlideColumn;

/// A table of text, by columns.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Table {
    names: Vec<String>,
    columns: Vec<Vec<String>>,
    len: usize,
    /// The column that answers to [`SLIDE`].
    slides: Option<usize>,
}

impl Table {
    /// A table of columns of equal length.
    pub(super) fn new(names: Vec<String>, columns: Vec<Vec<String>>, len: usize) -> Self {
        Self { names, columns, len, slides: None }
    }

    /// The table with its column at `place` as that of the slides.
    pub(super) fn with_slides_at(self, place: usize) -> Self {
        Self { slides: Some(place), ..self }
    }

    /// Reads a CSV with a header.
    pub(super) fn read_csv(path: &Path) -> Result<Self> {
        let mut reader = open(path)?;
        let names = header(&mut reader, path)?;
        let mut columns = vec![Vec::new(); names.len()];
        let mut len = 0;
        let mut record = csv::StringRecord::new();
        while reader.read_record(&mut record).map_err(|error| EmbeddingError::at(path, &said(&error)))? {
            for (column, cell) in columns.iter_mut().zip(&record) {
                column.push(cell.to_owned());
            }
            len += 1;
        }
        Ok(Self::new(names, columns, len))
    }

    /// The number of rows.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The columns' names, in the file's order.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The column `name`, if it is there; for `slide`, the column that names the slides, whatever it is called.
    pub fn column(&self, name: &str) -> Option<&[String]> {
        let slides = self.slides.filter(|_| name == SLIDE);
        let at = slides.or_else(|| self.names.iter().position(|known| known == name))?;
        Some(&self.columns[at])
    }

    /// The column `name` as numbers, NaN where a cell is empty; `None` where there is no such column.
    ///
    /// # Errors
    /// When a cell is neither empty nor a number.
    pub fn number(&self, name: &str) -> Result<Option<Vec<f64>>> {
        let Some(cells) = self.column(name) else { return Ok(None) };
        let parse = |(row, cell): (usize, &String)| match cell.trim() {
            "" => Ok(f64::NAN),
            text => text.parse().map_err(|_| {
                EmbeddingError(format!("column {name}, row {row} (counted from 0): expected a number, found {text:?}"))
            }),
        };
        cells.iter().enumerate().map(parse).collect::<Result<_>>().map(Some)
    }
}

/// The names of the columns of a CSV.
pub(super) fn read_names(path: &Path) -> Result<Vec<String>> {
    header(&mut open(path)?, path)
}

/// The slides' column of a CSV as categories, without keeping the rest of the table.
pub(super) fn read_slides(path: &Path, column: &SlideColumn) -> Result<Categories> {
    let mut reader = open(path)?;
    let at = column.place(&header(&mut reader, path)?, path)?;
    let cell = |record: csv::Result<csv::StringRecord>| {
        record
            .map(|record| record.get(at).unwrap_or_default().to_owned())
            .map_err(|e| EmbeddingError::at(path, &said(&e)))
    };
    reader.records().map(cell).collect()
}

/// Refuses empty cells; `place` says where the cells come from.
pub(crate) fn check_filled(place: &str, cells: &[String]) -> Result<()> {
    match cells.iter().filter(|cell| cell.trim().is_empty()).count() {
        0 => Ok(()),
        empty => Err(EmbeddingError(format!(
            "{place}: expected a value in every row, found {empty} empty ones of {}; fill them in, or leave the tiles out",
            cells.len()
        ))),
    }
}

/// Refuses a measure in the place of kinds: cells that are all numbers, of which one is not whole. Each number would pass
/// for a kind of its own. `place` says where the cells come from; an empty one means "not known".
pub(crate) fn check_kinds<'c>(place: &str, cells: impl IntoIterator<Item = &'c str>) -> Result<()> {
    let mut fraction = None;
    for cell in cells.into_iter().map(str::trim).filter(|cell| !cell.is_empty()) {
        match cell.parse::<f64>() {
            Ok(number) if number.is_finite() && number.fract() != 0.0 => fraction = fraction.or(Some(cell)),
            Ok(_) => {}
            Err(_) => return Ok(()),
        }
    }
    match fraction {
        None => Ok(()),
        Some(cell) => Err(EmbeddingError(format!(
            "{place}: expected the name of a kind in each row, found a measure, such as {cell}; add a column to the table that \
             names the kinds, and give that one"
        ))),
    }
}

fn open(path: &Path) -> Result<csv::Reader<Bounded<File>>> {
    open_csv(path).map_err(|error| {
        EmbeddingError::at(
            path,
            &format!(
                "expected the table of the tiles beside the embeddings (CSV with a column that names the slide), found: {error}"
            ),
        )
    })
}

fn header(reader: &mut csv::Reader<Bounded<File>>, path: &Path) -> Result<Vec<String>> {
    let header = reader.headers().map_err(|error| EmbeddingError::at(path, &said(&error)))?;
    // Spreadsheets put a byte order mark before the first name.
    Ok(header.iter().map(|name| name.trim_start_matches('\u{feff}').trim().to_owned()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_measure_is_no_kind() {
        let kinds = |cells: &[&str]| check_kinds("t.csv: column c", cells.iter().copied());
        let refused = kinds(&["", "1.000000", "0.988520", "nan"]).unwrap_err().to_string();
        assert!(refused.starts_with("t.csv: column c: expected the name of a kind"), "{refused}");
        assert!(refused.contains("such as 0.988520"), "{refused}");
        // Numbered kinds, also as a spreadsheet writes them beside empty cells, and words of any look.
        for fine in [&["1", "2", ""][..], &["1.0", "2.0", ""], &["0.5", "high"], &["inf", "nan"], &[]] {
            kinds(fine).unwrap();
        }
    }
}
