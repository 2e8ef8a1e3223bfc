//! Writing an embedding file over hours. Tiles are appended to plain files in a folder beside it; every commit is on disk
//! before the next begins, and a run that was cut off resumes after its last commit. The file itself appears whole.

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use coverslip_files::{Claim, FileSet, IntoClaim, append, folder_to_append};
use serde_json::json;

use super::content::{Content, TapInfo};
use super::error::{EmbeddingError, Result};
use super::extracts::Extracts;
use super::journal::{Extent, InputState, Journal, Written, length};
use super::names::{self, FEATURE_INDEX, FEATURE_VALUE, PARQUET, SAFETENSORS};
use super::parquet::{self, FeatureParts, Parts};

/// One tile, or one of its tokens, on its way into the file.
#[derive(Debug, Clone, PartialEq)]
pub struct TileRecord {
    /// Cells in the order of [`Content::columns`]; empty where something is not known.
    pub cells: Vec<String>,
    /// The taps' embeddings one after the other.
    pub embedding: Vec<f32>,
    /// Active features, the largest first; at most k.
    pub features: Vec<(u32, f32)>,
}

/// Writes an embedding file.
#[derive(Debug)]
pub struct Writer {
    claim: Claim,
    folder: PathBuf,
    content: Content,
    journal: Journal,
    /// Where the input begins whose tiles are pushed.
    begun: Extent,
    taps_out: Vec<BufWriter<File>>,
    index_out: BufWriter<File>,
    value_out: BufWriter<File>,
    table_out: csv::Writer<File>,
}

impl Writer {
    /// Begins `out` (.safetensors or .parquet; a path or a claim of one), or goes on where an earlier run with the same
    /// `key` stopped. `force`: a finished file may be replaced.
    ///
    /// # Errors
    /// When the place cannot be written or another run writes there, a file is there that no earlier run began, or an
    /// earlier run was made with another key.
    pub fn open(out: impl IntoClaim, content: Content, key: &str, force: bool) -> Result<Self> {
        let mut claim = out.into_claim().map_err(|error| EmbeddingError(error.to_string()))?;
        let out = claim.place();
        let extension = out.extension().and_then(|e| e.to_str()).unwrap_or_default();
        if ![SAFETENSORS, PARQUET].contains(&extension) {
            return Err(EmbeddingError(format!(
                "{}: expected a name that ends in .safetensors or .parquet",
                out.display()
            )));
        }
        let folder = partial(out);
        if !force && !Journal::is_in(&folder) {
            vacant(out)?;
        }
        folder_to_append(&folder).and_then(|()| claim.sweep(&folder)).map_err(|error| unwritable(&folder, &error))?;
        if let Some(table) = table_beside(claim.place()) {
            claim.sweep_file(&table).map_err(|error| unwritable(&table, &error))?;
        }
        let journal = Journal::begin(&folder, key)?;
        let append = |name: &str, bytes: u64| {
            append(&folder.join(name), bytes).map_err(|error| {
                let text = format!("{name}: {error}; make room, or remove the folder and begin again");
                EmbeddingError::at(&folder, &text)
            })
        };
        let (tiles, k) = (journal.tiles as u64, content.k);
        let tap_file =
            |tap: &TapInfo| append(&names::tensor(&tap.name), tiles * 4 * tap.width as u64).map(BufWriter::new);
        let taps_out = content.taps.iter().map(tap_file).collect::<Result<_>>()?;
        let index_out = BufWriter::new(append(FEATURE_INDEX, tiles * 4 * k as u64)?);
        let value_out = BufWriter::new(append(FEATURE_VALUE, tiles * 4 * k as u64)?);
        let table = append(TABLE, journal.table_bytes)?;
        let mut writer = Self {
            claim,
            folder: folder.clone(),
            content,
            taps_out,
            index_out,
            value_out,
            table_out: csv::WriterBuilder::new().has_headers(false).from_writer(table),
            begun: Extent::default(),
            journal,
        };
        let begun = writer.begin_table();
        begun.map_err(|error| unwritable(&folder, &error))?;
        Ok(writer)
    }

    fn begin_table(&mut self) -> io::Result<()> {
        if self.journal.table_bytes == 0 {
            self.table_out.write_record(self.content.columns())?;
        }
        self.begin_input()
    }

    /// The next tiles are another input's.
    fn begin_input(&mut self) -> io::Result<()> {
        self.table_out.flush()?;
        let (tiles, table) = (self.journal.tiles, length(self.table_out.get_ref())?);
        self.begun = Extent { tiles: tiles..tiles, table: table..table };
        Ok(())
    }

    /// What earlier runs left at the place, a sentence each.
    pub fn notes(&mut self) -> Vec<String> {
        self.claim.notes()
    }

    /// Tiles that are written, also those of an earlier run.
    pub fn tiles(&self) -> usize {
        self.journal.kept()
    }

    /// What an input was when its tiles were written; none if they are not.
    pub fn written(&self, input: &str) -> Option<&InputState> {
        self.journal.inputs.get(input).map(|written| &written.state)
    }

    /// Leaves the tiles of an input out, because it was replaced since they were written.
    pub fn forget(&mut self, input: &str) {
        self.journal.forget(input);
    }

    /// Appends a tile of the input that [`Writer::end`] names next.
    ///
    /// # Errors
    /// When the disk refuses it.
    pub fn push(&mut self, tile: &TileRecord) -> Result<()> {
        let width: usize = self.content.taps.iter().map(|tap| tap.width).sum();
        if tile.embedding.len() != width {
            return Err(EmbeddingError(format!(
                "expected {width} values of {} taps in a tile, found {}; report this",
                self.content.taps.len(),
                tile.embedding.len()
            )));
        }
        self.write(tile).map_err(|error| unwritable(&self.folder, &error))?;
        self.journal.tiles += 1;
        Ok(())
    }

    fn write(&mut self, tile: &TileRecord) -> io::Result<()> {
        let mut rest = &tile.embedding[..];
        for (tap, out) in self.content.taps.iter().zip(&mut self.taps_out) {
            let (values, behind) = rest.split_at(tap.width);
            values.iter().try_for_each(|value| out.write_all(&value.to_le_bytes()))?;
            rest = behind;
        }
        for place in 0..self.content.k {
            let (index, value) = tile.features.get(place).copied().unwrap_or((0, 0.0));
            self.index_out.write_all(&(index as i32).to_le_bytes())?;
            self.value_out.write_all(&value.to_le_bytes())?;
        }
        self.table_out.write_record(&tile.cells).map_err(io::Error::from)
    }

    /// The tiles since the last call are all of `input`, which was in this `state` before it was read. The next commit
    /// has it.
    ///
    /// # Errors
    /// When the disk refuses it.
    pub fn end(&mut self, input: &str, state: InputState) -> Result<()> {
        let mut extent = std::mem::take(&mut self.begun);
        self.begin_input().map_err(|error| unwritable(&self.folder, &error))?;
        (extent.tiles.end, extent.table.end) = (self.begun.tiles.start, self.begun.table.start);
        self.journal.inputs.insert(input.to_owned(), Written { extent, state });
        Ok(())
    }

    /// Commits the inputs that have ended since the last commit.
    ///
    /// # Errors
    /// When the disk refuses it; the last commit stays valid.
    pub fn commit(&mut self) -> Result<()> {
        self.sync().map_err(|error| unwritable(&self.folder, &error))
    }

    fn sync(&mut self) -> io::Result<()> {
        for out in self.taps_out.iter_mut().chain([&mut self.index_out, &mut self.value_out]) {
            out.flush()?;
            out.get_ref().sync_data()?;
        }
        self.table_out.flush()?;
        self.table_out.get_ref().sync_data()?;
        self.journal.table_bytes = length(self.table_out.get_ref())?;
        self.journal.commit(&self.folder)
    }

    /// Makes the file of everything that was committed, gives it its name and removes the folder. Returns the tiles.
    ///
    /// # Errors
    /// When there is no tile, or the disk refuses it; then the folder stays, and another run needs to do this alone.
    pub fn finish(mut self) -> Result<usize> {
        let tiles = self.journal.kept();
        if tiles == 0 {
            return Err(EmbeddingError::at(self.claim.place(), &"expected at least one tile, found none to write"));
        }
        let finished = self.sync().and_then(|()| self.assemble());
        finished.map_err(|error| unwritable(self.claim.place(), &error))?;
        // The file is complete; a folder that cannot be removed does no harm.
        let _ = fs::remove_dir_all(&self.folder);
        Ok(tiles)
    }

    /// Gives the place up: removes what was written, also by an earlier run.
    pub fn discard(self) {
        Journal::remove(&self.folder);
    }

    /// Removes this run's files and their folder, where nothing of others is in it.
    fn remove_files(&self) {
        let taps = self.content.taps.iter().map(|tap| names::tensor(&tap.name));
        for name in taps.chain([FEATURE_INDEX, FEATURE_VALUE, TABLE].map(str::to_owned)) {
            let _ = fs::remove_file(self.folder.join(name));
        }
        let _ = fs::remove_dir(&self.folder);
    }

    fn assemble(&self) -> io::Result<()> {
        let out = self.claim.place();
        let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if out.extension().is_some_and(|extension| extension == PARQUET) {
            let mut files = FileSet::prepare(&self.claim, &[&name(out)])?;
            files.write(&name(out), |file| {
                let file = file.get_ref().try_clone()?;
                parquet::write(file, self.parts()?).map_err(|error| io::Error::other(error.to_string()))
            })?;
            return files.commit().map(|_| ());
        }
        let table = name(&names::table(out));
        let mut files = FileSet::prepare(&self.claim, &[&table, &name(out)])?;
        files.write(&table, |file| io::copy(&mut self.table()?, file).map(|_| ()))?;
        let (header, order) = self.header();
        files.write(&name(out), |file| {
            file.write_all(&(header.len() as u64).to_le_bytes())?;
            file.write_all(header.as_bytes())?;
            order.iter().try_for_each(|(name, width)| io::copy(&mut self.values(name, *width)?, file).map(|_| ()))
        })?;
        files.commit().map(|_| ())
    }

    /// The header of the safetensors file, and its tensors and their widths in order; each lies in a file of its name.
    fn header(&self) -> (String, Vec<(String, usize)>) {
        let n = self.journal.kept();
        let mut tensors: Vec<(String, &str, usize)> =
            self.content.taps.iter().map(|tap| (names::tensor(&tap.name), "F32", tap.width)).collect();
        if self.content.k > 0 {
            tensors.push((FEATURE_INDEX.into(), "I32", self.content.k));
            tensors.push((FEATURE_VALUE.into(), "F32", self.content.k));
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
        (header, tensors.into_iter().map(|(name, _, width)| (name, width)).collect())
    }

    fn parts<'s>(&'s self) -> io::Result<Parts<'s>> {
        let boxed = |name: &str, width| self.values(name, width).map(|file| Box::new(file) as Box<dyn Read>);
        let tap = |tap: &'s TapInfo| Ok((tap, boxed(&names::tensor(&tap.name), tap.width)?));
        let taps = self.content.taps.iter().map(tap).collect::<io::Result<_>>()?;
        let features = match self.content.k {
            0 => None,
            k => Some(FeatureParts { k, index: boxed(FEATURE_INDEX, k)?, value: boxed(FEATURE_VALUE, k)? }),
        };
        let rows = csv::Reader::from_reader(self.table()?);
        Ok(Parts { len: self.journal.kept(), columns: self.content.columns(), taps, features, rows })
    }

    /// The rows that are wanted.
    fn table(&self) -> io::Result<Extracts> {
        Extracts::open(&self.folder.join(TABLE), self.journal.table())
    }

    /// The values that are wanted, `width` of 4 bytes per tile.
    fn values(&self, name: &str, width: usize) -> io::Result<Extracts> {
        Extracts::open(&self.folder.join(name), self.journal.values(4 * width as u64))
    }
}

/// Files without a journal are of no use to another run: nothing was committed, and they go.
impl Drop for Writer {
    fn drop(&mut self) {
        if Journal::is_absent(&self.folder) {
            self.remove_files();
        }
    }
}

const TABLE: &str = "rows.csv";

/// The folder of a file that is being written.
fn partial(out: &Path) -> PathBuf {
    let name = out.file_name().unwrap_or(out.as_os_str()).to_string_lossy();
    out.with_file_name(format!("{name}.partial"))
}

/// The CSV with the tiles of a safetensors file.
fn table_beside(out: &Path) -> Option<PathBuf> {
    out.extension().is_some_and(|extension| extension == SAFETENSORS).then(|| names::table(out))
}

/// Refuses to replace a file, or a CSV beside it, which may be somebody's own.
fn vacant(out: &Path) -> Result<()> {
    match [out.to_owned()].into_iter().chain(table_beside(out)).find(|path| path.exists()) {
        Some(found) => Err(EmbeddingError(format!(
            "{}: expected no file there, found one; give another --out, or --force to replace it",
            found.display()
        ))),
        None => Ok(()),
    }
}

fn unwritable(path: &Path, error: &dyn std::fmt::Display) -> EmbeddingError {
    EmbeddingError(format!("{}: could not be written: {error}. What was committed before is intact", path.display()))
}
