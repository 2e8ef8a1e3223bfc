//! Opening a CSV of a stranger's: what its cells become in memory is asked for before any is kept.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use coverslip_numerics::there_is;

/// Bytes that a cell may still take when it has been read, beside its letters: places in the reader's record and in lists
/// that double as they grow, a text's own fields, a column's if it is a name, and what the allocator adds. A cell may be
/// one byte of the file.
const CELL_BYTES: u64 = 128;
/// Cells that a table may have whatever its length. Behind these, cells and their commas have two bytes on average, as in a
/// table of digits: a table of empty cells is one byte of the file for each.
const FREE_CELLS: u64 = 2 << 20;
/// Longest cell, bytes. A file without commas and line breaks is no table, and may be any length.
const MOST_CELL_BYTES: u64 = 1 << 20;
/// Names of columns that an error lists.
const LISTED: usize = 20;
/// Bytes that are read at once.
const BLOCK: usize = 1 << 16;

/// Opens a CSV with a header. Its reader refuses cells that there is no memory for.
///
/// # Errors
/// When it cannot be opened; the text does not name the file.
pub(crate) fn open_csv(path: &Path) -> Result<csv::Reader<Bounded<File>>, String> {
    let file = coverslip_files::open(path).map_err(|error| error.to_string())?;
    Ok(csv::ReaderBuilder::new().buffer_capacity(BLOCK).from_reader(Bounded { file, cells: 1, size: 0, cell: 0 }))
}

/// What is wrong with a CSV, and what to do.
pub(crate) fn said(error: &csv::Error) -> String {
    let line = |place: &Option<csv::Position>| place.as_ref().map_or(1, csv::Position::line);
    match error.kind() {
        csv::ErrorKind::Utf8 { pos, .. } => {
            format!("expected text in UTF-8, found other bytes in line {}; save the table as CSV in UTF-8", line(pos))
        }
        csv::ErrorKind::UnequalLengths { pos, expected_len, len } => format!(
            "expected {expected_len} cells in each line, found {len} in line {}; complete it, or put a cell that has a \
             comma or a line break into quotes",
            line(pos)
        ),
        _ => error.to_string(),
    }
}

/// The names of a table's columns, for an error; says where they look like columns that no comma separates.
pub(crate) fn listed(names: &[String]) -> String {
    match names {
        [one] if one.contains([';', '\t', '|']) => format!("one column `{one}`; separate columns by commas"),
        [] => "none".into(),
        [first @ .., _] if first.len() >= LISTED => {
            format!("{} and {} more", names[..LISTED].join(", "), names.len() - LISTED)
        }
        _ => names.join(", "),
    }
}

/// A file that is read block by block. Before a block is handed on, the memory is asked for that its cells and those
/// before them may still take.
pub(crate) struct Bounded<F> {
    file: F,
    /// At most, so far.
    cells: u64,
    /// Bytes so far.
    size: u64,
    /// Bytes of the last cell, so far.
    cell: u64,
}

impl<F: Read> Read for Bounded<F> {
    fn read(&mut self, block: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(block)?;
        let ends = |byte: &u8| matches!(byte, b',' | b'\n' | b'\r');
        self.cells += block[..read].iter().filter(|byte| ends(byte)).count() as u64;
        self.size += read as u64;
        // Blocks are shorter than the longest cell: one within a block is seen at the next.
        self.cell = match block[..read].iter().rposition(ends) {
            Some(last) => (read - last - 1) as u64,
            None => self.cell + read as u64,
        };
        if self.cell > MOST_CELL_BYTES {
            let text = format!(
                "expected a comma or a line break after at most {MOST_CELL_BYTES} bytes, found none in the last {} of the first \
                 {}: is it a table?",
                self.cell, self.size
            );
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        let most = FREE_CELLS + self.size / 2;
        if self.cells > most {
            let text = format!(
                "expected at most {most} cells in its first {} bytes, found {}, most of them empty; leave out empty \
                 columns, or split the table",
                self.size, self.cells
            );
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        if there_is(self.cells.saturating_mul(CELL_BYTES).saturating_add(self.size)) {
            return Ok(read);
        }
        let cells = self.cells;
        let text = format!("no memory for more than the first {cells} of its cells; split the table");
        Err(io::Error::new(io::ErrorKind::OutOfMemory, text))
    }
}
