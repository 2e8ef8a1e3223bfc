//! Reading an embedding file by blocks of rows, so that it may be larger than memory.

use std::path::{Path, PathBuf};

use coverslip_analysis::Categories;
use coverslip_bundle::RowSource;
use coverslip_bundle::limits::MAX_D_SAE;
use coverslip_bundle::tensors::Element;
use coverslip_import::Checkpoint;
use coverslip_numerics::there_is;

use super::content::{SparseFeatures, TapInfo};
use super::error::{EmbeddingError, Result};
use super::names::{self, FEATURE_INDEX, FEATURE_VALUE, PARQUET, SAFETENSORS};
use super::parquet::ParquetFile;
use super::slide_column::SlideColumn;
use super::table::{Table, read_names, read_slides};

/// Bytes that readers keep of a tile beside its embedding: its slide, its side of the split, its place in an order.
const TILE_BYTES: u64 = 64;

/// An open embedding file. Opening reads the names and widths of its taps; values are read by positioned reads when they
/// are asked for. A mapping would need `unsafe`, and a file that shrinks under a mapping ends the process.
#[derive(Debug)]
pub struct EmbeddingFile {
    path: PathBuf,
    store: Store,
    taps: Vec<TapInfo>,
    len: usize,
}

#[derive(Debug)]
enum Store {
    Safetensors(Checkpoint),
    Parquet(ParquetFile),
}

impl EmbeddingFile {
    /// Opens a .safetensors or .parquet file.
    ///
    /// # Errors
    /// When it is missing or damaged, has no tap or no tile, or its taps differ in their number of tiles.
    pub fn open(path: &Path) -> Result<Self> {
        let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
        let (store, shapes) = match extension {
            SAFETENSORS => {
                let file = Checkpoint::open(path).map_err(|error| EmbeddingError::at(path, &error))?;
                let shapes = tensor_taps(path, &file)?;
                (Store::Safetensors(file), shapes)
            }
            PARQUET => {
                let file = ParquetFile::open(path)?;
                let shapes = file.taps()?.into_iter().map(|tap| (tap, file.len())).collect();
                (Store::Parquet(file), shapes)
            }
            other => {
                return Err(EmbeddingError::at(
                    path,
                    &format!(
                        "expected an embedding file .safetensors or .parquet, found .{other}; write one with `coverslip embed`"
                    ),
                ));
            }
        };
        let Some((first, len)) = shapes.first().cloned() else {
            return Err(EmbeddingError::at(
                path,
                &"expected float tensors embedding_<tap> [tiles, width], found none; write one with `coverslip embed`",
            ));
        };
        if let Some((tap, other)) = shapes.iter().find(|(_, other)| *other != len) {
            return Err(EmbeddingError::at(
                path,
                &format!(
                    "expected as many tiles in every tap, found {len} in {} and {other} in {}",
                    first.name, tap.name
                ),
            ));
        }
        if len == 0 {
            return Err(EmbeddingError::at(path, &"expected at least one tile, found none"));
        }
        if !there_is((len as u64).saturating_mul(TILE_BYTES)) {
            return Err(EmbeddingError::at(path, &format!("no memory for the table of {len} tiles; split the file")));
        }
        let taps = shapes.into_iter().map(|(tap, _)| tap).collect();
        Ok(Self { path: path.into(), store, taps, len })
    }

    /// The number of tiles.
    #[allow(clippy::len_without_is_empty, reason = "a file without tiles is refused")]
    pub fn len(&self) -> usize {
        self.len
    }

    /// The taps, by name.
    pub fn taps(&self) -> &[TapInfo] {
        &self.taps
    }

    /// The tap `name`.
    ///
    /// # Errors
    /// When there is none; the message lists those that are there.
    pub fn tap(&self, name: &str) -> Result<&TapInfo> {
        self.taps.iter().find(|tap| tap.name == name).ok_or_else(|| {
            let known: Vec<&str> = self.taps.iter().map(|tap| tap.name.as_str()).collect();
            EmbeddingError::at(&self.path, &format!("expected a tap `{name}`, found {}", known.join(", ")))
        })
    }

    /// Replaces `out` by rows `first .. first + count` of `tap`, row-major; checked to be finite.
    ///
    /// # Errors
    /// When the tap or the rows are not there, the file cannot be read, or a value is NaN or infinite.
    pub fn read(&self, tap: &str, first: usize, count: usize, out: &mut Vec<f32>) -> Result<()> {
        let width = self.tap(tap)?.width;
        if first.checked_add(count).is_none_or(|end| end > self.len) {
            return Err(EmbeddingError::at(
                &self.path,
                &format!("expected rows below {}, asked for {first} + {count}", self.len),
            ));
        }
        match &self.store {
            Store::Safetensors(file) => {
                let name = tensor_name(file, tap);
                let tensor = file
                    .read_rows(&name, first..first + count)
                    .map_err(|error| EmbeddingError::at(&self.path, &error))?;
                *out = tensor.view(&name).to_f32().map_err(|error| EmbeddingError::at(&self.path, &error))?;
            }
            Store::Parquet(file) => file.read(tap, width, first, count, out)?,
        }
        match out.iter().position(|value| !value.is_finite()) {
            None => Ok(()),
            Some(at) => Err(EmbeddingError::at(
                &self.path,
                &format!(
                    "expected finite embeddings, found {} in tile {} (counted from 0), value {} of tap {tap}; embed it again \
                     or leave the tile out",
                    out[at],
                    first + at / width,
                    at % width
                ),
            )),
        }
    }

    /// The SAE's features, where the file has them.
    pub(super) fn features(&self) -> Result<Option<SparseFeatures>> {
        let features = match &self.store {
            Store::Safetensors(file) => tensor_features(&self.path, file)?,
            Store::Parquet(file) => file.features()?,
        };
        if let Some(SparseFeatures { k, index, value }) = &features {
            // What a file calls its largest feature sizes what is computed from all of them.
            let known = 0..MAX_D_SAE as i32;
            let whole = index.len() == self.len * k && value.len() == index.len();
            if !whole || index.iter().any(|i| !known.contains(i)) || value.iter().any(|v| !v.is_finite()) {
                return Err(EmbeddingError::at(
                    &self.path,
                    &format!(
                        "expected feature_index and feature_value [{}, {k}], indices from 0 and below {MAX_D_SAE}, and finite \
                         values; found others. Embed the tiles again",
                        self.len
                    ),
                ));
            }
        }
        Ok(features)
    }

    /// What the rows are: `tiles`, or `tokens` of tiles.
    ///
    /// # Errors
    /// When the table is missing or damaged.
    pub(crate) fn rows_are(&self) -> Result<&'static str> {
        let columns = match &self.store {
            Store::Safetensors(_) => read_names(&self.table_path())?,
            Store::Parquet(file) => file.names(),
        };
        let tokens = names::TOKEN_COLUMNS.iter().all(|name| columns.iter().any(|column| column == name));
        Ok(if tokens { "tokens" } else { "tiles" })
    }

    /// The table of the tiles.
    ///
    /// # Errors
    /// When the table is missing or damaged, has no column of slides, or has another number of rows.
    pub(super) fn table(&self, slides: &SlideColumn) -> Result<Table> {
        let table = match &self.store {
            Store::Safetensors(_) => Table::read_csv(&self.table_path())?,
            Store::Parquet(file) => file.table()?,
        };
        self.check_rows(table.len())?;
        let place = slides.place(table.names(), &self.table_path())?;
        Ok(table.with_slides_at(place))
    }

    /// Each tile's slide, without keeping the rest of the table.
    ///
    /// # Errors
    /// When the table is missing or damaged, has no such column, or has another number of rows.
    pub fn slides(&self, column: &SlideColumn) -> Result<Categories> {
        let slides = match &self.store {
            Store::Safetensors(_) => read_slides(&self.table_path(), column)?,
            Store::Parquet(_) => Categories::new(self.table(column)?.column(names::SLIDE).unwrap_or_default()),
        };
        self.check_rows(slides.len())?;
        Ok(slides)
    }

    fn table_path(&self) -> PathBuf {
        match self.store {
            Store::Safetensors(_) => names::table(&self.path),
            Store::Parquet(_) => self.path.clone(),
        }
    }

    fn check_rows(&self, found: usize) -> Result<()> {
        if found == self.len {
            return Ok(());
        }
        Err(EmbeddingError::at(
            &self.table_path(),
            &format!(
                "expected a row for each of the {} tiles, found {found} rows; both files belong together",
                self.len
            ),
        ))
    }
}

/// Taps and their number of tiles: `embedding_<tap>`, and any other matrix of floats under its own name.
fn tensor_taps(path: &Path, file: &Checkpoint) -> Result<Vec<(TapInfo, usize)>> {
    let mut taps = Vec::new();
    for name in file.names().filter(|name| *name != FEATURE_VALUE) {
        let float = matches!(file.element(name), Some(Element::F32 | Element::F16 | Element::Bf16 | Element::F64));
        match file.shape(name) {
            Some(&[tiles, width]) if float && width > 0 => {
                taps.push((TapInfo { name: names::tap(name).to_owned(), width }, tiles));
            }
            Some(found) if names::is_tap(name) => {
                return Err(EmbeddingError::at(
                    path,
                    &format!("expected {name} as floats [tiles, width], found {found:?}"),
                ));
            }
            _ => {}
        }
    }
    Ok(taps)
}

fn tensor_name(file: &Checkpoint, tap: &str) -> String {
    let name = names::tensor(tap);
    if file.contains(&name) { name } else { tap.to_owned() }
}

fn tensor_features(path: &Path, file: &Checkpoint) -> Result<Option<SparseFeatures>> {
    if !file.contains(FEATURE_INDEX) {
        return Ok(None);
    }
    let read = |name: &str| file.read(name).map_err(|error| EmbeddingError::at(path, &error));
    let (index, value) = (read(FEATURE_INDEX)?, read(FEATURE_VALUE)?);
    let k = index.shape.get(1).copied().unwrap_or(0);
    let index = index.view(FEATURE_INDEX).to_i32().map_err(|error| EmbeddingError::at(path, &error))?;
    let value = value.view(FEATURE_VALUE).to_f32().map_err(|error| EmbeddingError::at(path, &error))?;
    Ok(Some(SparseFeatures { k, index, value }))
}
