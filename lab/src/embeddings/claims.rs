//! What a Parquet file claims, held against its bytes and a budget before the crate `parquet` takes memory for it.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

use coverslip_numerics::there_is;
use parquet::basic::Compression;
use parquet::file::metadata::ColumnChunkMetaData;

use super::thrift::{Kind, Thrift};

/// Bytes that a member of a list in the footer becomes in memory, at most.
const MEMBER_BYTES: u64 = 1024;
/// Largest page, decompressed: 64 times what writers aim at.
const MOST_PAGE_BYTES: i64 = 256 << 20;
/// Most bytes that the pages take which are in memory at once, with what becomes of a dictionary. Writers aim at two pages of
/// 1 MiB for a column.
const MOST_BYTES_AT_ONCE: u64 = 512 << 20;
/// Bytes that an entry of a dictionary becomes: a text is a place in the page.
const ENTRY_BYTES: i64 = 32;
/// Longest header of a page; longer statistics are refused.
const MOST_HEADER_BYTES: usize = 64 << 10;
/// Encodings whose decoder takes memory for a length that stands inside the page.
const WITH_LENGTHS_INSIDE: [i64; 2] = [6, 7];

/// Rows, cells of the table or values of a column that a file may have whatever its length.
const FREE_VALUES: u64 = 1 << 20;
/// And how many more for each of its bytes: runs and dictionaries make some bytes of any number of equal values. A row has a
/// name and a place of its own, and honest tables stay below one cell for each byte.
pub(super) const CELLS_OF_A_BYTE: u64 = 16;
/// Embeddings hardly shrink. Features do: 32 active ones of 16,384 take 65 values to a byte, as pyarrow writes them.
pub(super) const VALUES_OF_A_BYTE: u64 = 256;
/// Letters in the cells of a table. One that is the same in each row, as the name of a slide, has few bytes in the file.
pub(super) const LETTERS_OF_A_BYTE: u64 = 64;
pub(super) const FREE_LETTERS: u64 = 64 << 20;

/// The field of a footer that says how pages are encrypted.
const ENCRYPTION: i64 = 8;
const ENCRYPTED: &str = "the file is encrypted, which is not read; write it without encryption";

type Checked<T> = Result<T, String>;

fn part(file: &mut File, start: u64, length: usize) -> Checked<Vec<u8>> {
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(length).map_err(|_| format!("no memory for {length} bytes of its headers"))?;
    let read = file.seek(SeekFrom::Start(start)).and_then(|_| file.take(length as u64).read_to_end(&mut bytes));
    read.map_err(|error| error.to_string())?;
    Ok(bytes)
}

/// Checks the footer: every list in it is there, and what becomes of them fits into memory.
pub(super) fn check_footer(file: &mut File) -> Checked<()> {
    let size = file.metadata().map_err(|error| error.to_string())?.len();
    let end = part(file, size.saturating_sub(8), 8)?;
    let length = match end.split_first_chunk::<4>() {
        Some((length, b"PAR1")) => u32::from_le_bytes(*length),
        Some((_, b"PARE")) => return Err(ENCRYPTED.into()),
        _ => return Err("expected a Parquet file, found one that does not end as one; write or copy it again".into()),
    };
    let start = size.checked_sub(8 + u64::from(length));
    let start = start.ok_or("its footer is longer than the file; write or copy it again")?;
    let footer = part(file, start, length as usize)?;
    let mut thrift = Thrift::new(&footer);
    if has_field(&mut thrift, ENCRYPTION).ok_or("its footer is damaged; write or copy it again")? {
        return Err(ENCRYPTED.into());
    }
    if there_is((thrift.members as u64).saturating_mul(MEMBER_BYTES)) {
        return Ok(());
    }
    Err(format!("no memory for the {} entries of its footer", thrift.members))
}

/// Refuses more values than an honest file of `bytes` has.
pub(super) fn expect_values(what: &str, values: u64, bytes: u64, of_a_byte: u64) -> Checked<()> {
    let most = bytes.saturating_mul(of_a_byte).saturating_add(FREE_VALUES);
    if values <= most {
        return Ok(());
    }
    Err(format!(
        "expected at most {most} {what} in a file of {bytes} bytes, {of_a_byte} for each byte and {FREE_VALUES} \
         besides, found {values}; write it again without compression and dictionaries, or split it"
    ))
}

/// Passes a struct; whether it has this field.
fn has_field(thrift: &mut Thrift<'_>, wanted: i64) -> Option<bool> {
    let (mut last, mut found) = (0, false);
    while let Some((field, kind)) = thrift.field(&mut last)? {
        found |= field == wanted;
        thrift.skip_field(kind)?;
    }
    Some(found)
}

/// Checks a column of a row group: its pages are in the file, none is larger than the budget, and together they have as
/// many values as the footer says.
///
/// Returns the most bytes that its pages take in memory at once: a dictionary, and one page.
pub(super) fn check_column(file: &mut File, column: &ColumnChunkMetaData) -> Checked<u64> {
    let size = file.metadata().map_err(|error| error.to_string())?.len();
    let damaged = |what: &str| format!("column {}: {what}; write or copy the file again", column.column_path());
    expect_compression(column.compression()).map_err(|why| format!("column {}: {why}", column.column_path()))?;
    let first = column.dictionary_page_offset().unwrap_or_else(|| column.data_page_offset());
    let place = |n: i64| u64::try_from(n).map_err(|_| damaged("its place in the file is below 0"));
    let (mut at, length) = (place(first)?, place(column.compressed_size())?);
    let end = at.checked_add(length).filter(|end| *end <= size);
    let end = end.ok_or_else(|| damaged("its pages are beyond the end of the file"))?;
    let (mut values, mut dictionary, mut largest) = (0i64, 0, 0);
    while at < end {
        let room = usize::try_from(end - at).unwrap_or(usize::MAX).min(MOST_HEADER_BYTES);
        let bytes = part(file, at, room)?;
        let page = Page::read(&bytes).ok_or_else(|| damaged("the header of a page is damaged"))?;
        if !(0..=MOST_PAGE_BYTES).contains(&page.size) {
            return Err(damaged(&format!("a page has {} bytes, at most {MOST_PAGE_BYTES}", page.size)));
        }
        if WITH_LENGTHS_INSIDE.contains(&page.encoding) {
            return Err(format!(
                "column {}: delta-encoded text is not supported in this version; write it plain or with a dictionary",
                column.column_path()
            ));
        }
        // A dictionary's values have a byte each at least.
        if page.values < 0 || page.dictionary && page.values > page.size {
            return Err(damaged("a page claims more values than it can have"));
        }
        if page.dictionary {
            dictionary = dictionary.max(page.size + page.values * ENTRY_BYTES);
        } else {
            values = values.saturating_add(page.values);
            largest = largest.max(page.size);
        }
        let next = page.header.saturating_add(u64::try_from(page.compressed).unwrap_or(u64::MAX));
        at = at.checked_add(next).filter(|at| *at <= end).ok_or_else(|| damaged("a page is cut off"))?;
    }
    if values != column.num_values() {
        return Err(damaged(&format!("{} values are announced, its pages have {values}", column.num_values())));
    }
    let at_once = (dictionary + largest) as u64;
    expect_pages(&format!("column {}", column.column_path()), at_once)?;
    Ok(at_once)
}

/// Refuses a compression that this build of the crate does not read.
fn expect_compression(found: Compression) -> Checked<()> {
    match found {
        Compression::UNCOMPRESSED | Compression::SNAPPY => Ok(()),
        other => {
            Err(format!("expected pages compressed by Snappy or not at all, found {other}; write the file again so"))
        }
    }
}

/// Refuses pages that take too many bytes, or more than there are.
pub(super) fn expect_pages(what: &str, bytes: u64) -> Checked<()> {
    if bytes <= MOST_BYTES_AT_ONCE && there_is(bytes) {
        return Ok(());
    }
    Err(format!(
        "expected at most {MOST_BYTES_AT_ONCE} bytes in the pages of {what} that are read at once, and memory for them, found \
         {bytes}; write it with smaller pages and dictionaries"
    ))
}

/// A page's header.
#[derive(Debug, Default)]
struct Page {
    /// Bytes of the header itself.
    header: u64,
    /// Bytes, decompressed and as stored.
    size: i64,
    compressed: i64,
    dictionary: bool,
    values: i64,
    encoding: i64,
}

impl Page {
    fn read(bytes: &[u8]) -> Option<Page> {
        let mut thrift = Thrift::new(bytes);
        let (mut page, mut last) = (Page { compressed: -1, size: -1, ..Page::default() }, 0);
        while let Some((field, kind)) = thrift.field(&mut last)? {
            match field {
                2 => page.size = thrift.number()?,
                3 => page.compressed = thrift.number()?,
                // A data page, a dictionary, a data page of the second version.
                5 | 7 | 8 if kind == Kind::STRUCT => {
                    page.dictionary = field == 7;
                    // The second version counts rows and empty values before it says the encoding.
                    let encoding = if field == 8 { 4 } else { 2 };
                    let mut last = 0;
                    while let Some((inner, kind)) = thrift.field(&mut last)? {
                        match inner {
                            1 => page.values = thrift.number()?,
                            _ if inner == encoding => page.encoding = thrift.number()?,
                            _ => thrift.skip_field(kind)?,
                        }
                    }
                }
                _ => thrift.skip_field(kind)?,
            }
        }
        page.header = thrift.length() as u64;
        Some(page).filter(|page| page.compressed >= 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_compression_is_named_with_those_that_are_read() {
        for read in [Compression::SNAPPY, Compression::UNCOMPRESSED] {
            expect_compression(read).unwrap();
        }
        let refused = expect_compression(Compression::ZSTD(Default::default())).unwrap_err();
        assert!(refused.contains("by Snappy or not at all, found ZSTD"), "{refused}");
    }
}
