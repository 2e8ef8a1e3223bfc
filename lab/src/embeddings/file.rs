//! Reading an embedding file by blocks of rows, so that it may be larger than memory.

use std::path::{Path, PathBuf};

use coverslip_bundle::RowSource;
use coverslip_bundle::tensors::Element;
use coverslip_import::Checkpoint;

use super::parquet::ParquetFile;
use super::rows::{Groups, Rows};
use super::{EmbeddingError, PREFIX, Result, SparseFeatures, TapInfo};

/// An open embedding file. Only its taps are known; values are read when they are asked for, from their place in the
/// file: a mapping would need `unsafe`, and a file that shrinks under it ends the process.
#[derive(Debug)]
pub(crate) struct EmbeddingFile {
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
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
        let (store, shapes) = match extension {
            "safetensors" => {
                let file = Checkpoint::open(path).map_err(|error| named(path, &error))?;
                let shapes = tensor_taps(path, &file)?;
                (Store::Safetensors(file), shapes)
            }
            "parquet" => {
                let file = ParquetFile::open(path)?;
                let shapes = file.taps()?.into_iter().map(|tap| (tap, file.len())).collect();
                (Store::Parquet(file), shapes)
            }
            other => {
                return Err(named(
                    path,
                    &format!(
                        "expected an embedding file .safetensors or .parquet, found .{other}; write one with `coverslip embed`"
                    ),
                ));
            }
        };
        let Some((first, len)) = shapes.first().cloned() else {
            return Err(named(
                path,
                &"expected float tensors embedding_<tap> [tiles, width], found none; write one with `coverslip embed`",
            ));
        };
        if let Some((tap, other)) = shapes.iter().find(|(_, other)| *other != len) {
            return Err(named(
                path,
                &format!(
                    "expected as many tiles in every tap, found {len} in {} and {other} in {}",
                    first.name, tap.name
                ),
            ));
        }
        if len == 0 {
            return Err(named(path, &"expected at least one tile, found none"));
        }
        let taps = shapes.into_iter().map(|(tap, _)| tap).collect();
        Ok(Self { path: path.into(), store, taps, len })
    }

    /// Tiles.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The taps, by name.
    pub(crate) fn taps(&self) -> &[TapInfo] {
        &self.taps
    }

    /// The tap `name`.
    ///
    /// # Errors
    /// When there is none; the message lists those that are there.
    pub(crate) fn tap(&self, name: &str) -> Result<&TapInfo> {
        self.taps.iter().find(|tap| tap.name == name).ok_or_else(|| {
            let known: Vec<&str> = self.taps.iter().map(|tap| tap.name.as_str()).collect();
            named(&self.path, &format!("expected a tap `{name}`, found {}", known.join(", ")))
        })
    }

    /// Replaces `out` by rows `first .. first + count` of `tap`, row-major; checked to be finite.
    ///
    /// # Errors
    /// When the tap or the rows are not there, the file cannot be read, or a value is NaN or infinite.
    pub(crate) fn read(&self, tap: &str, first: usize, count: usize, out: &mut Vec<f32>) -> Result<()> {
        let width = self.tap(tap)?.width;
        if first.checked_add(count).is_none_or(|end| end > self.len) {
            return Err(named(&self.path, &format!("expected rows below {}, asked for {first} + {count}", self.len)));
        }
        match &self.store {
            Store::Safetensors(file) => {
                let name = tensor_name(file, tap);
                let tensor = file.read_rows(&name, first..first + count).map_err(|error| named(&self.path, &error))?;
                *out = tensor.view(&name).to_f32().map_err(|error| named(&self.path, &error))?;
            }
            Store::Parquet(file) => file.read(tap, width, first, count, out)?,
        }
        match out.iter().position(|value| !value.is_finite()) {
            None => Ok(()),
            Some(at) => Err(named(
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
            let whole = index.len() == self.len * k && value.len() == index.len();
            if !whole || index.iter().any(|i| *i < 0) || value.iter().any(|v| !v.is_finite()) {
                return Err(named(
                    &self.path,
                    &format!(
                        "expected feature_index and feature_value [{}, {k}], indices from 0 and finite values; found \
                         others. Embed the tiles again",
                        self.len
                    ),
                ));
            }
        }
        Ok(features)
    }

    /// What is known of each tile, as a whole.
    ///
    /// # Errors
    /// When the table is missing or damaged, has no column `slide`, or has another number of rows.
    pub(crate) fn read_rows_table(&self) -> Result<Rows> {
        let rows = match &self.store {
            Store::Safetensors(_) => Rows::read_csv(&self.table_path())?,
            Store::Parquet(file) => file.rows()?,
        };
        self.check_rows(rows.len())?;
        rows.require("slide", &self.table_path())?;
        Ok(rows)
    }

    /// The column `name` as groups of equal text, without keeping the rest of the table.
    ///
    /// # Errors
    /// As [`EmbeddingFile::read_rows_table`].
    pub(crate) fn groups(&self, name: &str) -> Result<Groups> {
        let groups = match &self.store {
            Store::Safetensors(_) => Groups::read_csv(&self.table_path(), name)?,
            Store::Parquet(file) => Groups::of(file.rows()?.require(name, &self.path)?),
        };
        self.check_rows(groups.of.len())?;
        Ok(groups)
    }

    fn table_path(&self) -> PathBuf {
        match self.store {
            Store::Safetensors(_) => self.path.with_extension("csv"),
            Store::Parquet(_) => self.path.clone(),
        }
    }

    fn check_rows(&self, found: usize) -> Result<()> {
        if found == self.len {
            return Ok(());
        }
        Err(named(
            &self.table_path(),
            &format!(
                "expected a row for each of the {} tiles, found {found} rows; both files belong together",
                self.len
            ),
        ))
    }
}

pub(super) fn named(path: &Path, error: &dyn std::fmt::Display) -> EmbeddingError {
    EmbeddingError(format!("{}: {error}", path.display()))
}

/// Taps and their number of tiles: `embedding_<tap>`, and any other matrix of floats under its own name.
fn tensor_taps(path: &Path, file: &Checkpoint) -> Result<Vec<(TapInfo, usize)>> {
    let mut taps = Vec::new();
    for name in file.names().filter(|name| *name != "feature_value") {
        let float = matches!(file.element(name), Some(Element::F32 | Element::F16 | Element::Bf16 | Element::F64));
        match file.shape(name) {
            Some(&[tiles, width]) if float && width > 0 => {
                let name = name.strip_prefix(PREFIX).unwrap_or(name).to_owned();
                taps.push((TapInfo { name, width }, tiles));
            }
            Some(found) if name.starts_with(PREFIX) => {
                return Err(named(path, &format!("expected {name} as floats [tiles, width], found {found:?}")));
            }
            _ => {}
        }
    }
    Ok(taps)
}

fn tensor_name(file: &Checkpoint, tap: &str) -> String {
    let prefixed = format!("{PREFIX}{tap}");
    if file.contains(&prefixed) { prefixed } else { tap.to_owned() }
}

fn tensor_features(path: &Path, file: &Checkpoint) -> Result<Option<SparseFeatures>> {
    if !file.contains("feature_index") {
        return Ok(None);
    }
    let read = |name: &str| file.read(name).map_err(|error| named(path, &error));
    let (index, value) = (read("feature_index")?, read("feature_value")?);
    let k = index.shape.get(1).copied().unwrap_or(0);
    let index = index.view("feature_index").to_i32().map_err(|error| named(path, &error))?;
    let value = value.view("feature_value").to_f32().map_err(|error| named(path, &error))?;
    Ok(Some(SparseFeatures { k, index, value }))
}
