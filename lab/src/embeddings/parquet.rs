//! Embeddings in a Parquet file: each tap a column of lists, everything about the tile a column of its own.

use std::cell::RefCell;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use coverslip_files::fence::fenced;
use coverslip_numerics::there_is;
use parquet::basic::{Compression, Type as Physical};
use parquet::column::reader::get_typed_column_reader;
use parquet::data_type::{ByteArray, ByteArrayType, DataType, DoubleType, FloatType, Int32Type};
use parquet::file::properties::WriterProperties;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::record::Field;
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::Type;

use super::claims;
use super::content::{SparseFeatures, TapInfo};
use super::error::{EmbeddingError, Result};
use super::extracts::Extracts;
use super::names::{self, FEATURE_INDEX, FEATURE_VALUE, IMAGE, SCANNER, SLIDE, TILE};
use super::table::Table;

/// Rows of a row group; one group is decoded at a time.
const GROUP: usize = 4096;
/// Bytes of a cell of the table: a text of a few letters.
const CELL_BYTES: u64 = 48;
/// Letters for which memory is first asked.
const FIRST_LETTERS: u64 = 1 << 20;

/// An open Parquet file.
pub(super) struct ParquetFile {
    path: PathBuf,
    reader: SerializedFileReader<File>,
    /// Length of the file.
    bytes: u64,
    len: usize,
    /// The last decoded column of a row group: (column, group, values).
    decoded: RefCell<Option<(usize, usize, Vec<f32>)>>,
}

impl fmt::Debug for ParquetFile {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "ParquetFile({}, {} rows)", self.path.display(), self.len)
    }
}

impl ParquetFile {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let mut file = coverslip_files::open(path).map_err(|error| EmbeddingError::at(path, &error))?;
        claims::check_footer(&mut file).map_err(|error| EmbeddingError::at(path, &error))?;
        let again = file.try_clone().map_err(|error| EmbeddingError::at(path, &error))?;
        let reader = guarded(path, || SerializedFileReader::new(again))?;
        let bytes = file.metadata().map_err(|error| EmbeddingError::at(path, &error))?.len();
        let mut len = 0usize;
        let mut values = Vec::new();
        let columns = reader.metadata().file_metadata().schema_descr();
        for group in reader.metadata().row_groups() {
            let rows = usize::try_from(group.num_rows()).ok().and_then(|rows| len.checked_add(rows));
            len =
                rows.ok_or_else(|| EmbeddingError::at(path, &"a row group claims a number of rows that cannot be"))?;
            values.resize(group.num_columns().max(values.len()), 0u64);
            let mut at_once = 0u64;
            for ((column, leaf), values) in group.columns().iter().zip(columns.columns()).zip(&mut values) {
                let pages =
                    claims::check_column(&mut file, column).map_err(|error| EmbeddingError::at(path, &error))?;
                *values = values.saturating_add(column.num_values().max(0) as u64);
                // A row of the table is read from all of its columns at once.
                at_once += if leaf.max_rep_level() == 0 { pages } else { 0 };
            }
            claims::expect_pages("its table", at_once).map_err(|error| EmbeddingError::at(path, &error))?;
        }
        let most = values.into_iter().max().unwrap_or(0);
        let expected = claims::expect_values("rows", len as u64, bytes, claims::CELLS_OF_A_BYTE)
            .and_then(|()| claims::expect_values("values of a column", most, bytes, claims::VALUES_OF_A_BYTE));
        expected.map_err(|error| EmbeddingError::at(path, &error))?;
        Ok(Self { path: path.into(), reader, bytes, len, decoded: RefCell::new(None) })
    }

    /// Refuses what there is no memory for. How many values a file may have is limited when it is opened.
    fn check_memory(&self, what: &str, values: usize, bytes: u64) -> Result<()> {
        if there_is((values as u64).saturating_mul(bytes)) {
            return Ok(());
        }
        Err(EmbeddingError::at(&self.path, &format!("no memory for {values} values of {what}; split the file")))
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Columns of lists of floats, and how long the lists are.
    pub(super) fn taps(&self) -> Result<Vec<TapInfo>> {
        let mut taps = Vec::new();
        for (at, name) in self.lists(&[Physical::FLOAT, Physical::DOUBLE]) {
            if name != FEATURE_VALUE {
                let width = self.width(at, &name)?;
                taps.push(TapInfo { name: names::tap(&name).to_owned(), width });
            }
        }
        taps.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(taps)
    }

    /// Rows of a tap.
    pub(super) fn read(&self, tap: &str, width: usize, first: usize, count: usize, out: &mut Vec<f32>) -> Result<()> {
        let prefixed = names::tensor(tap);
        let lists = self.lists(&[Physical::FLOAT, Physical::DOUBLE]);
        let at = lists.iter().find(|(_, name)| *name == prefixed).or(lists.iter().find(|(_, name)| name == tap));
        let (column, _) = at.ok_or_else(|| EmbeddingError::at(&self.path, &format!("no column for tap {tap}")))?;
        out.clear();
        let mut start = 0;
        for group in 0..self.reader.num_row_groups() {
            let rows = self.reader.metadata().row_group(group).num_rows().max(0) as usize;
            let (from, to) = (first.max(start), (first + count).min(start + rows));
            if from < to {
                self.decode(*column, group, rows, width)?;
                let decoded = self.decoded.borrow();
                let values = decoded.as_ref().map_or(&[][..], |(_, _, values)| values);
                out.extend_from_slice(&values[(from - start) * width..(to - start) * width]);
            }
            start += rows;
        }
        Ok(())
    }

    pub(super) fn features(&self) -> Result<Option<SparseFeatures>> {
        let index = self.lists(&[Physical::INT32]).into_iter().find(|(_, name)| name == FEATURE_INDEX);
        let value = self.lists(&[Physical::FLOAT]).into_iter().find(|(_, name)| name == FEATURE_VALUE);
        let (Some((index, _)), Some((value, _))) = (index, value) else { return Ok(None) };
        let k = self.width(index, FEATURE_INDEX)?;
        let mut features = SparseFeatures { k, index: Vec::new(), value: Vec::new() };
        for group in 0..self.reader.num_row_groups() {
            let rows = self.reader.metadata().row_group(group).num_rows().max(0) as usize;
            self.check_memory("its features", self.len.saturating_mul(k), 8)?;
            features.index.extend(self.column::<Int32Type>(index, group, rows, k)?);
            features.value.extend(self.column::<FloatType>(value, group, rows, k)?);
        }
        Ok(Some(features))
    }

    /// The names of all columns.
    pub(super) fn names(&self) -> Vec<String> {
        let root = self.reader.metadata().file_metadata().schema();
        root.get_fields().iter().map(|field| field.name().to_owned()).collect()
    }

    /// The table: every column that is not a list.
    pub(super) fn table(&self) -> Result<Table> {
        let root = self.reader.metadata().file_metadata().schema();
        let fields: Vec<Arc<Type>> = root.get_fields().iter().filter(|field| field.is_primitive()).cloned().collect();
        let names: Vec<String> = fields.iter().map(|field| field.name().to_owned()).collect();
        let cells = self.len.saturating_mul(names.len());
        claims::expect_values("cells of its table", cells as u64, self.bytes, claims::CELLS_OF_A_BYTE)
            .map_err(|error| EmbeddingError::at(&self.path, &error))?;
        self.check_memory("its table", cells, CELL_BYTES)?;
        let mut columns = vec![Vec::with_capacity(self.len); names.len()];
        let mut letters = Letters::of_a_file(self.bytes);
        let mut refused = Ok(());
        if !names.is_empty() {
            let projection = Type::group_type_builder(root.name()).with_fields(fields).build();
            let projection = projection.map_err(|error| EmbeddingError::at(&self.path, &error))?;
            guarded(&self.path, || {
                for row in self.reader.get_row_iter(Some(projection))? {
                    let row = row?;
                    for (column, (_, cell)) in columns.iter_mut().zip(row.get_column_iter()) {
                        refused = letters.expect(cell);
                        if refused.is_err() {
                            return Ok(());
                        }
                        column.push(text(cell));
                    }
                }
                Ok(())
            })?;
        }
        refused.map_err(|error| EmbeddingError::at(&self.path, &error))?;
        Ok(Table::new(names, columns, self.len))
    }

    /// Leaves (their place and the name of their column) that are lists of one of `kinds`.
    fn lists(&self, kinds: &[Physical]) -> Vec<(usize, String)> {
        let schema = self.reader.metadata().file_metadata().schema_descr();
        let leaves = schema.columns().iter().enumerate();
        let lists = leaves.filter(|(_, leaf)| leaf.max_rep_level() == 1 && kinds.contains(&leaf.physical_type()));
        lists.map(|(at, leaf)| (at, leaf.path().parts().first().cloned().unwrap_or_default())).collect()
    }

    /// How long the lists of a column are.
    fn width(&self, column: usize, name: &str) -> Result<usize> {
        let values: i64 =
            self.reader.metadata().row_groups().iter().map(|group| group.column(column).num_values()).sum();
        let values = values.max(0) as usize;
        if self.len == 0 || !values.is_multiple_of(self.len) {
            return Err(EmbeddingError::at(
                &self.path,
                &format!("expected lists of equal length in column {name}, found {values} values in {} rows", self.len),
            ));
        }
        Ok(values / self.len)
    }

    /// Makes `decoded` the values of a group.
    fn decode(&self, column: usize, group: usize, rows: usize, width: usize) -> Result<()> {
        if matches!(*self.decoded.borrow(), Some((c, g, _)) if (c, g) == (column, group)) {
            return Ok(());
        }
        let leaf = self.reader.metadata().file_metadata().schema_descr().column(column).physical_type();
        let values = if leaf == Physical::DOUBLE {
            self.column::<DoubleType>(column, group, rows, width)?.into_iter().map(|v| v as f32).collect()
        } else {
            self.column::<FloatType>(column, group, rows, width)?
        };
        *self.decoded.borrow_mut() = Some((column, group, values));
        Ok(())
    }

    /// The values of a group's column of lists, each `width` long.
    fn column<T: DataType>(&self, column: usize, group: usize, rows: usize, width: usize) -> Result<Vec<T::T>> {
        let failed = |error: &dyn fmt::Display| EmbeddingError::at(&self.path, error);
        // A value, its two levels, and room to grow.
        self.check_memory("a row group", rows.saturating_mul(width), 32)?;
        let (mut values, mut definition, mut repetition) = (Vec::new(), Vec::new(), Vec::new());
        guarded(&self.path, || {
            let reader = self.reader.get_row_group(group)?.get_column_reader(column)?;
            let mut reader = get_typed_column_reader::<T>(reader);
            while reader.read_records(rows, Some(&mut definition), Some(&mut repetition), &mut values)?.0 > 0 {}
            Ok(())
        })?;
        let starts = repetition.iter().enumerate().all(|(at, level)| (*level == 0) == at.is_multiple_of(width.max(1)));
        if Some(values.len()) != rows.checked_mul(width) || !starts {
            return Err(failed(&format!("expected {rows} lists of {width} values, found {} values", values.len())));
        }
        Ok(values)
    }
}

/// Runs the crate's code on a stranger's bytes: its errors and its panics are errors of the file.
fn guarded<T>(path: &Path, work: impl FnOnce() -> parquet::errors::Result<T>) -> Result<T> {
    match fenced(work) {
        Ok(done) => done.map_err(|error| {
            EmbeddingError::at(
                path,
                &format!("damaged, or of a kind that is not read ({error}); write or copy it again"),
            )
        }),
        Err(panic) => Err(EmbeddingError::at(path, &panic)),
    }
}

/// What the texts of a table take in memory, counted while they are read: a dictionary has one of any length once for
/// any number of cells.
struct Letters {
    found: u64,
    /// That an honest file of this length has.
    most: u64,
    /// That there is memory for.
    room: u64,
}

impl Letters {
    fn of_a_file(bytes: u64) -> Letters {
        Letters {
            found: 0,
            most: claims::FREE_LETTERS.saturating_add(bytes.saturating_mul(claims::LETTERS_OF_A_BYTE)),
            room: 0,
        }
    }

    /// Refuses a cell, before it is kept, that is too many.
    fn expect(&mut self, cell: &Field) -> std::result::Result<(), String> {
        let Field::Str(text) = cell else { return Ok(()) };
        self.found += text.len() as u64;
        if self.found > self.most {
            return Err(format!(
                "expected at most {} letters in the cells of its table, {} for each byte of the file and {} besides, found \
                 more; leave out columns of long texts",
                self.most,
                claims::LETTERS_OF_A_BYTE,
                claims::FREE_LETTERS
            ));
        }
        if self.found > self.room {
            // As much again as there is, so that it is rarely asked.
            if !there_is(self.found.saturating_add(FIRST_LETTERS)) {
                return Err(format!("no memory for more than {} letters of its table; split the file", self.found));
            }
            self.room = self.found.saturating_mul(2).saturating_add(FIRST_LETTERS);
        }
        Ok(())
    }
}

/// A cell as it would stand in a CSV.
fn text(cell: &Field) -> String {
    match cell {
        Field::Null => String::new(),
        Field::Str(text) => text.clone(),
        Field::Double(value) => value.to_string(),
        Field::Float(value) => value.to_string(),
        other => other.to_string(),
    }
}

/// Columns of text; the others are numbers.
const TEXT: [&str; 4] = [SLIDE, IMAGE, TILE, SCANNER];

/// The parts of a Parquet file, each read from its beginning.
pub(super) struct Parts<'a> {
    pub(super) len: usize,
    /// Of the table.
    pub(super) columns: Vec<&'static str>,
    /// Taps with their values, float32 little-endian.
    pub(super) taps: Vec<(&'a TapInfo, Box<dyn Read>)>,
    pub(super) features: Option<FeatureParts>,
    /// The table, in [`Parts::columns`].
    pub(super) rows: csv::Reader<Extracts>,
}

/// The k features of each tile.
pub(super) struct FeatureParts {
    pub(super) k: usize,
    pub(super) index: Box<dyn Read>,
    pub(super) value: Box<dyn Read>,
}

type Group<'a> = SerializedRowGroupWriter<'a, File>;
type Written<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Writes `parts` to `file`.
pub(super) fn write(file: File, mut parts: Parts<'_>) -> Written<()> {
    let schema = Arc::new(parse_message_type(&schema(&parts))?);
    let properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_created_by(concat!("coverslip ", env!("CARGO_PKG_VERSION")).into())
        .build();
    let mut writer = SerializedFileWriter::new(file, schema, Arc::new(properties))?;
    let mut left = parts.len;
    while left > 0 {
        let rows = left.min(GROUP);
        let mut group = writer.next_row_group()?;
        write_rows(&mut group, &parts.columns, &mut parts.rows, rows)?;
        for (tap, values) in &mut parts.taps {
            lists::<FloatType>(&mut group, quads(values, rows * tap.width)?.map(f32::from_le_bytes), tap.width)?;
        }
        if let Some(FeatureParts { k, index, value }) = &mut parts.features {
            lists::<Int32Type>(&mut group, quads(index, rows * *k)?.map(i32::from_le_bytes), *k)?;
            lists::<FloatType>(&mut group, quads(value, rows * *k)?.map(f32::from_le_bytes), *k)?;
        }
        group.close()?;
        left -= rows;
    }
    writer.close()?;
    Ok(())
}

fn schema(parts: &Parts<'_>) -> String {
    let mut columns = String::new();
    for name in &parts.columns {
        let kind = if TEXT.contains(name) { "binary" } else { "double" };
        let text = if TEXT.contains(name) { "(STRING)" } else { "" };
        columns += &format!("optional {kind} {name} {text};");
    }
    let mut list = |name: &str, kind: &str| {
        columns += &format!("required group {name} (LIST) {{ repeated group list {{ required {kind} element; }} }}");
    };
    for (tap, _) in &parts.taps {
        list(&names::tensor(&tap.name), "float");
    }
    if parts.features.is_some() {
        list(FEATURE_INDEX, "int32");
        list(FEATURE_VALUE, "float");
    }
    format!("message embeddings {{ {columns} }}")
}

fn write_rows(group: &mut Group<'_>, columns: &[&str], table: &mut csv::Reader<Extracts>, rows: usize) -> Written<()> {
    let records: Vec<csv::StringRecord> = table.records().take(rows).collect::<std::result::Result<_, _>>()?;
    for (at, name) in columns.iter().enumerate() {
        let cells: Vec<&str> = records.iter().map(|record| record.get(at).unwrap_or_default()).collect();
        let present: Vec<i16> = cells.iter().map(|cell| i16::from(!cell.is_empty())).collect();
        let cells = cells.into_iter().filter(|cell| !cell.is_empty());
        if TEXT.contains(name) {
            let values: Vec<ByteArray> = cells.map(ByteArray::from).collect();
            column::<ByteArrayType>(group, &values, &present, None)?;
        } else {
            let values: Vec<f64> = cells.map(str::parse).collect::<std::result::Result<_, _>>()?;
            column::<DoubleType>(group, &values, &present, None)?;
        }
    }
    Ok(())
}

fn lists<T: DataType>(group: &mut Group<'_>, values: impl Iterator<Item = T::T>, width: usize) -> Written<()> {
    let values: Vec<T::T> = values.collect();
    let repetition: Vec<i16> = (0..values.len()).map(|at| i16::from(!at.is_multiple_of(width))).collect();
    column::<T>(group, &values, &vec![1; values.len()], Some(&repetition))
}

fn column<T: DataType>(group: &mut Group<'_>, values: &[T::T], present: &[i16], list: Option<&[i16]>) -> Written<()> {
    let mut column = group.next_column()?.ok_or("the table has more columns than its schema")?;
    column.typed::<T>().write_batch(values, Some(present), list)?;
    column.close()?;
    Ok(())
}

fn quads(source: &mut dyn Read, count: usize) -> Written<impl Iterator<Item = [u8; 4]>> {
    let mut bytes = vec![0; count * 4];
    source.read_exact(&mut bytes)?;
    Ok((0..count).map(move |at| [bytes[4 * at], bytes[4 * at + 1], bytes[4 * at + 2], bytes[4 * at + 3]]))
}
