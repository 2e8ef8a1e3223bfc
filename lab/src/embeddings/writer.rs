//! Writing an embedding file over hours. Tiles are appended to plain files in a folder beside it; every commit is on disk
//! before the next begins, and a run that was cut off resumes after its last commit. The file itself appears whole.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::json;

use coverslip_files::whole;

use super::content::TapInfo;
use super::error::{EmbeddingError, Result};
use super::names::{self, COLUMNS, FEATURE_INDEX, FEATURE_VALUE, PARQUET, SAFETENSORS};
use super::parquet::{self, FeatureParts, Parts};

/// The last commit: everything in it is on disk.
#[derive(Debug, Clone, Default, Deserialize, PartialEq, Serialize)]
struct Journal {
    /// What has to be the same for a run to go on: bundle, options.
    key: String,
    /// Tiles written.
    tiles: usize,
    /// Length of the table.
    table_bytes: u64,
    /// Slides and images that are done.
    units: BTreeSet<String>,
}

/// One tile on its way into the file.
#[derive(Debug, Clone, PartialEq)]
pub struct TileRecord {
    /// Cells in the order of [`COLUMNS`]; empty where something is not known.
    pub cells: [String; COLUMNS.len()],
    /// The taps' embeddings one after the other.
    pub embedding: Vec<f32>,
    /// Active features, the largest first; at most k.
    pub features: Vec<(u32, f32)>,
}

/// Writes an embedding file.
#[derive(Debug)]
pub struct Writer {
    out: PathBuf,
    folder: PathBuf,
    taps: Vec<TapInfo>,
    k: usize,
    journal: Journal,
    taps_out: Vec<BufWriter<File>>,
    index_out: BufWriter<File>,
    value_out: BufWriter<File>,
    table_out: csv::Writer<File>,
}

impl Writer {
    /// Begins `out` (.safetensors or .parquet), or goes on where an earlier run with the same `key` stopped. `k`:
    /// features per tile, 0 where there are none. `force`: a finished file may be replaced.
    ///
    /// # Errors
    /// When the place cannot be written, a file is there that no earlier run began, or an earlier run was made with
    /// another key.
    pub fn open(out: &Path, taps: Vec<TapInfo>, k: usize, key: &str, force: bool) -> Result<Self> {
        let extension = out.extension().and_then(|e| e.to_str()).unwrap_or_default();
        if ![SAFETENSORS, PARQUET].contains(&extension) {
            return Err(EmbeddingError(format!(
                "{}: expected a name that ends in .safetensors or .parquet",
                out.display()
            )));
        }
        let folder = partial(out);
        if !force && !folder.join(JOURNAL).exists() {
            vacant(out)?;
        }
        let journal = begin(&folder, key)?;
        let append = |name: &str, bytes: u64| append(&folder, name, bytes);
        let tiles = journal.tiles as u64;
        let tap_file =
            |tap: &TapInfo| append(&names::tensor(&tap.name), tiles * 4 * tap.width as u64).map(BufWriter::new);
        let taps_out = taps.iter().map(tap_file).collect::<Result<_>>()?;
        let index_out = BufWriter::new(append(FEATURE_INDEX, tiles * 4 * k as u64)?);
        let value_out = BufWriter::new(append(FEATURE_VALUE, tiles * 4 * k as u64)?);
        let table = append(TABLE, journal.table_bytes)?;
        let mut writer = Self {
            out: out.into(),
            folder: folder.clone(),
            taps,
            k,
            taps_out,
            index_out,
            value_out,
            table_out: csv::WriterBuilder::new().has_headers(false).from_writer(table),
            journal,
        };
        if writer.journal.table_bytes == 0 {
            writer.table_out.write_record(COLUMNS).map_err(|error| unwritable(&folder, &error))?;
        }
        Ok(writer)
    }

    /// Tiles that are written, also those of an earlier run.
    pub fn tiles(&self) -> usize {
        self.journal.tiles
    }

    /// Whether `unit` was committed.
    pub fn has(&self, unit: &str) -> bool {
        self.journal.units.contains(unit)
    }

    /// Appends a tile of the unit that is committed next.
    ///
    /// # Errors
    /// When the disk refuses it.
    pub fn push(&mut self, tile: &TileRecord) -> Result<()> {
        let width: usize = self.taps.iter().map(|tap| tap.width).sum();
        if tile.embedding.len() != width {
            return Err(EmbeddingError(format!(
                "expected {width} values of {} taps in a tile, found {}; report this",
                self.taps.len(),
                tile.embedding.len()
            )));
        }
        self.write(tile).map_err(|error| unwritable(&self.folder, &error))?;
        self.journal.tiles += 1;
        Ok(())
    }

    fn write(&mut self, tile: &TileRecord) -> io::Result<()> {
        let mut rest = &tile.embedding[..];
        for (tap, out) in self.taps.iter().zip(&mut self.taps_out) {
            let (values, behind) = rest.split_at(tap.width);
            values.iter().try_for_each(|value| out.write_all(&value.to_le_bytes()))?;
            rest = behind;
        }
        for place in 0..self.k {
            let (index, value) = tile.features.get(place).copied().unwrap_or((0, 0.0));
            self.index_out.write_all(&(index as i32).to_le_bytes())?;
            self.value_out.write_all(&value.to_le_bytes())?;
        }
        self.table_out.write_record(&tile.cells).map_err(io::Error::from)
    }

    /// Commits the tiles that were pushed since the last commit, as `units`.
    ///
    /// # Errors
    /// When the disk refuses it; the last commit stays valid.
    pub fn commit(&mut self, units: impl IntoIterator<Item = String>) -> Result<()> {
        self.journal.units.extend(units);
        self.sync().map_err(|error| unwritable(&self.folder, &error))
    }

    fn sync(&mut self) -> io::Result<()> {
        for out in self.taps_out.iter_mut().chain([&mut self.index_out, &mut self.value_out]) {
            out.flush()?;
            out.get_ref().sync_data()?;
        }
        self.table_out.flush()?;
        self.table_out.get_ref().sync_data()?;
        self.journal.table_bytes = self.table_out.get_ref().metadata()?.len();
        let text = serde_json::to_vec(&self.journal)?;
        whole(&self.folder.join(JOURNAL), |file| file.write_all(&text))
    }

    /// Makes the file of everything that was committed, gives it its name and removes the folder. Returns the tiles.
    ///
    /// # Errors
    /// When there is no tile, or the disk refuses it; then the folder stays, and another run needs to do this alone.
    pub fn finish(mut self) -> Result<usize> {
        let tiles = self.journal.tiles;
        if tiles == 0 {
            return Err(EmbeddingError(format!(
                "{}: expected at least one tile, found none to write",
                self.out.display()
            )));
        }
        let finished = self.sync().and_then(|()| self.assemble());
        finished.map_err(|error| unwritable(&self.out, &error))?;
        // The file is complete; a folder that cannot be removed does no harm.
        let _ = fs::remove_dir_all(&self.folder);
        Ok(tiles)
    }

    fn assemble(&self) -> io::Result<()> {
        if self.out.extension().is_some_and(|extension| extension == PARQUET) {
            return whole(&self.out, |file| {
                parquet::write(file.try_clone()?, self.parts()?).map_err(|error| io::Error::other(error.to_string()))
            });
        }
        // The table first: embeddings without one are of no use.
        whole(&names::table(&self.out), |file| io::copy(&mut self.source(TABLE)?, file).map(|_| ()))?;
        let (header, order) = self.header();
        whole(&self.out, |file| {
            file.write_all(&(header.len() as u64).to_le_bytes())?;
            file.write_all(header.as_bytes())?;
            order.iter().try_for_each(|name| io::copy(&mut self.source(name)?, file).map(|_| ()))
        })
    }

    /// The header of the safetensors file, and its tensors in order; each lies in a file of its name.
    fn header(&self) -> (String, Vec<String>) {
        let n = self.journal.tiles;
        let mut tensors: Vec<(String, &str, usize)> =
            self.taps.iter().map(|tap| (names::tensor(&tap.name), "F32", tap.width)).collect();
        if self.k > 0 {
            tensors.push((FEATURE_INDEX.into(), "I32", self.k));
            tensors.push((FEATURE_VALUE.into(), "F32", self.k));
        }
        let mut header = serde_json::Map::new();
        let mut at = 0;
        for (name, kind, width) in &tensors {
            let end = at + n * width * 4;
            header.insert(name.clone(), json!({"dtype": kind, "shape": [n, width], "data_offsets": [at, end]}));
            at = end;
        }
        let mut header = serde_json::Value::Object(header).to_string();
        // Tensors start at a multiple of 8 bytes.
        header.extend(std::iter::repeat_n(' ', header.len().next_multiple_of(8) - header.len()));
        (header, tensors.into_iter().map(|(name, _, _)| name).collect())
    }

    fn parts(&self) -> io::Result<Parts<'_>> {
        let boxed = |name: &str| self.source(name).map(|file| Box::new(file) as Box<dyn Read>);
        let taps =
            self.taps.iter().map(|tap| Ok((tap, boxed(&names::tensor(&tap.name))?))).collect::<io::Result<_>>()?;
        let features = match self.k {
            0 => None,
            k => Some(FeatureParts { k, index: boxed(FEATURE_INDEX)?, value: boxed(FEATURE_VALUE)? }),
        };
        let rows = csv::Reader::from_reader(File::open(self.folder.join(TABLE))?);
        Ok(Parts { len: self.journal.tiles, taps, features, rows })
    }

    fn source(&self, name: &str) -> io::Result<BufReader<File>> {
        File::open(self.folder.join(name)).map(BufReader::new)
    }
}

const JOURNAL: &str = "journal.json";
const TABLE: &str = "rows.csv";

/// The folder of a file that is being written.
fn partial(out: &Path) -> PathBuf {
    let name = out.file_name().unwrap_or(out.as_os_str()).to_string_lossy();
    out.with_file_name(format!("{name}.partial"))
}

/// Refuses to replace a file, or a CSV beside it, which may be somebody's own.
fn vacant(out: &Path) -> Result<()> {
    let table = Some(names::table(out)).filter(|_| out.extension().is_some_and(|extension| extension == SAFETENSORS));
    match [out.to_owned()].into_iter().chain(table).find(|path| path.exists()) {
        Some(found) => Err(EmbeddingError(format!(
            "{}: expected no file there, found one; give another --out, or --force to replace it",
            found.display()
        ))),
        None => Ok(()),
    }
}

/// The journal of an earlier run with the same key, or a new one.
fn begin(folder: &Path, key: &str) -> Result<Journal> {
    fs::create_dir_all(folder).map_err(|error| unwritable(folder, &error))?;
    let journal = match fs::read(folder.join(JOURNAL)) {
        Ok(bytes) => coverslip_bundle::json::parse::<Journal>(&bytes).map_err(|error| {
            EmbeddingError(format!(
                "{}: the journal of an earlier run is damaged ({error}); remove the folder and begin again",
                folder.display()
            ))
        })?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Journal { key: key.into(), ..Journal::default() },
        Err(error) => return Err(unwritable(folder, &error)),
    };
    if let Some(why) = crate::resume::misfit(key, &journal.key) {
        return Err(EmbeddingError(format!(
            "{}: {why}; give another --out, or remove the folder and begin again",
            folder.display()
        )));
    }
    Ok(journal)
}

/// Opens a file of the folder to append behind its first `bytes`, which an earlier run committed.
fn append(folder: &Path, name: &str, bytes: u64) -> Result<File> {
    let failed = |error: io::Error| unwritable(folder, &error);
    let mut file =
        OpenOptions::new().create(true).truncate(false).write(true).open(folder.join(name)).map_err(failed)?;
    if file.metadata().map_err(failed)?.len() < bytes {
        return Err(EmbeddingError(format!(
            "{}: expected {bytes} bytes of an earlier run in {name}, found fewer; remove the folder and begin again",
            folder.display()
        )));
    }
    // Everything after the last commit is from a run that was cut off.
    file.set_len(bytes).map_err(failed)?;
    file.seek(SeekFrom::End(0)).map_err(failed)?;
    Ok(file)
}

fn unwritable(path: &Path, error: &dyn std::fmt::Display) -> EmbeddingError {
    EmbeddingError(format!("{}: could not be written: {error}. What was committed before is intact", path.display()))
}
