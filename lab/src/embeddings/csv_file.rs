//! Opening a CSV of a stranger's: what its cells become in memory is asked for before any is kept.

use std::fs::File;
use std::io::{Read, Seek};
use std::path::Path;

use coverslip_bundle::budget::there_is;

/// Bytes of a cell in memory beside its letters: the text's own fields, and what the allocator adds. A cell may be one
/// byte of the file.
const CELL_BYTES: u64 = 64;

/// Opens a CSV with a header.
///
/// # Errors
/// When it cannot be read, and when there is no memory for its cells; the text does not name the file.
pub(crate) fn open_csv(path: &Path) -> Result<csv::Reader<File>, String> {
    let mut file = coverslip_files::open(path).map_err(|error| error.to_string())?;
    let (cells, size) = cells(&mut file).map_err(|error| error.to_string())?;
    // Rows are collected in lists that double as they grow.
    if !there_is(cells.saturating_mul(2 * CELL_BYTES).saturating_add(size)) {
        return Err(format!("no memory for its {cells} cells; split the table"));
    }
    Ok(csv::Reader::from_reader(file))
}

/// The number of cells, at most, and of bytes. The file is then at its beginning again.
fn cells(file: &mut File) -> std::io::Result<(u64, u64)> {
    let (mut cells, mut size, mut block) = (1u64, 0u64, vec![0; 1 << 16]);
    loop {
        let read = file.read(&mut block)?;
        if read == 0 {
            file.rewind()?;
            return Ok((cells, size));
        }
        cells += block[..read].iter().filter(|byte| matches!(byte, b',' | b'\n' | b'\r')).count() as u64;
        size += read as u64;
    }
}
