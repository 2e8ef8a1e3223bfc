//! Embeddings on their way into training: which slides are held out, and batches from a file larger than memory.

use std::path::Path;

use coverslip_analysis::Categories;
use coverslip_analysis::sae::Order;
use coverslip_bundle::Digest;
use coverslip_numerics::SplitMix64;

use super::split::Split;
use crate::embeddings::{EmbeddingError, EmbeddingFile, Result, SlideColumn};

/// Rows that are read at a time.
const BLOCK: usize = 1024;
/// Bytes of rows in memory at a time: training shuffles among these.
const TOGETHER: usize = 96 << 20;

/// One tap of an embedding file, split by slide.
pub(super) struct Data {
    pub(super) file: EmbeddingFile,
    pub(super) tap: String,
    pub(super) width: usize,
    /// Rows to train on; the others are held out.
    pub(super) train: Vec<bool>,
    pub(super) slides: usize,
    pub(super) split: Split,
    /// Of each row's slide.
    grouping: Digest,
}

impl Data {
    /// Opens the file. Without `tap` it must have one tap only. `split` chooses among the slides' names.
    pub(super) fn open(
        path: &Path,
        tap: Option<&str>,
        slides: &SlideColumn,
        split: impl FnOnce(&[String]) -> Result<Split>,
    ) -> Result<Self> {
        let file = EmbeddingFile::open(path)?;
        let tap = match (tap, file.taps()) {
            (Some(tap), _) => file.tap(tap)?.clone(),
            (None, [only]) => only.clone(),
            (None, several) => {
                let names: Vec<&str> = several.iter().map(|tap| tap.name.as_str()).collect();
                return Err(EmbeddingError(format!(
                    "{}: expected --tap, found {} taps: {}",
                    path.display(),
                    names.len(),
                    names.join(", ")
                )));
            }
        };
        let slides = file.slides(slides)?;
        if slides.names().iter().any(String::is_empty) {
            return Err(EmbeddingError(format!(
                "{}: expected a slide or patient for every tile, found empty cells in the column that groups them",
                path.display()
            )));
        }
        let split = split(slides.names())?;
        if let Some(stranger) = split.held_out.iter().find(|slide| !slides.names().contains(slide)) {
            return Err(EmbeddingError(format!(
                "{}: expected the slides that the SAE was trained with, found none called {stranger}",
                path.display()
            )));
        }
        let held: Vec<bool> = slides.names().iter().map(|name| split.held_out.contains(name)).collect();
        let train = slides.codes().iter().map(|slide| !held[*slide]).collect();
        let grouping = grouping(&slides);
        Ok(Self { file, tap: tap.name, width: tap.width, train, slides: slides.kinds(), split, grouping })
    }

    /// What tells these embeddings and their slides from others, whatever file they are in. Reads every row once.
    pub(super) fn digest(&self) -> Result<Digest> {
        let (mut digest, mut block) = (self.grouping, Vec::new());
        for first in (0..self.file.len()).step_by(BLOCK) {
            self.file.read(&self.tap, first, BLOCK.min(self.file.len() - first), &mut block)?;
            digest = after(digest, block.iter().flat_map(|value| value.to_le_bytes()));
        }
        Ok(digest)
    }

    /// Calls `each` with blocks of rows on the given side of the split, in the file's order.
    pub(super) fn blocks(&self, train: bool, mut each: impl FnMut(&[f32])) -> Result<()> {
        let (mut block, mut kept) = (Vec::new(), Vec::new());
        for first in (0..self.file.len()).step_by(BLOCK) {
            let count = BLOCK.min(self.file.len() - first);
            let side = &self.train[first..first + count];
            if !side.contains(&train) {
                continue;
            }
            self.file.read(&self.tap, first, count, &mut block)?;
            kept.clear();
            for (row, side) in block.chunks_exact(self.width).zip(side) {
                if *side == train {
                    kept.extend_from_slice(row);
                }
            }
            each(&kept);
        }
        Ok(())
    }

    /// `most` rows of one side of the split, or all where there are fewer, in the file's order. Every row has the same
    /// chance: the first rows of a file may all be of one project.
    pub(super) fn sample(&self, train: bool, most: usize, seed: u64) -> Result<Sample> {
        let side: Vec<usize> = (0..self.train.len()).filter(|&row| self.train[row] == train).collect();
        let (mut left, mut wanted) = (side.len(), most.min(side.len()));
        let (mut rows, mut random) = (Vec::with_capacity(wanted * self.width), SplitMix64::new(seed));
        let mut places = Vec::with_capacity(wanted);
        self.blocks(train, |block| {
            for row in block.chunks_exact(self.width) {
                // Selection sampling (Knuth 3.4.2, S): what is wanted of what is left.
                if random.unit() * (left as f64) < wanted as f64 {
                    rows.extend_from_slice(row);
                    places.push(side[side.len() - left]);
                    wanted -= 1;
                }
                left -= 1;
            }
        })?;
        Ok(Sample { rows, places })
    }
}

/// The digest of each row's slide, by its name.
fn grouping(slides: &Categories) -> Digest {
    let names: Vec<Digest> = slides.names().iter().map(|name| Digest::of(name.as_bytes())).collect();
    let of = |codes: &[usize]| codes.iter().flat_map(|code| names[*code].0).collect::<Vec<u8>>();
    slides.codes().chunks(BLOCK).fold(Digest::of(&[]), |digest, codes| after(digest, of(codes)))
}

/// The digest of what has this digest and of the bytes behind it.
fn after(digest: Digest, bytes: impl IntoIterator<Item = u8>) -> Digest {
    let both: Vec<u8> = digest.0.into_iter().chain(bytes).collect();
    Digest::of(&both)
}

/// Some rows, and their places in the file.
pub(super) struct Sample {
    pub(super) rows: Vec<f32>,
    pub(super) places: Vec<usize>,
}

impl Sample {
    /// Some of these rows, each `width` wide.
    pub(super) fn select(&self, some: &[usize], width: usize) -> Sample {
        let rows = some.iter().flat_map(|&row| self.rows[row * width..][..width].iter().copied());
        Sample { rows: rows.collect(), places: some.iter().map(|&row| self.places[row]).collect() }
    }
}

/// An endless stream of training rows: epoch after epoch, each in its own order.
pub(super) struct Stream<'d> {
    data: &'d Data,
    order: Order,
    epoch: u64,
    fill: usize,
    /// The rows in memory.
    rows: Vec<f32>,
    places: Vec<u32>,
    next: usize,
}

impl<'d> Stream<'d> {
    /// A stream that begins after `skip` rows.
    pub(super) fn new(data: &'d Data, seed: u64, skip: u64) -> Result<Self> {
        let together = (TOGETHER / (BLOCK * data.width * 4)).max(1);
        let order = Order::new(data.train.clone(), BLOCK, together, seed);
        if order.kept() == 0 {
            return Err(EmbeddingError("expected tiles to train on, found none outside the held-out slides".into()));
        }
        let epoch = skip / order.kept() as u64;
        let mut stream = Self { data, order, epoch, fill: 0, rows: Vec::new(), places: Vec::new(), next: 0 };
        let mut left = (skip % stream.order.kept() as u64) as usize;
        loop {
            let rows = stream.order.fill(stream.epoch, stream.fill).places.len();
            if left < rows {
                break;
            }
            left -= rows;
            stream.fill += 1;
        }
        stream.load()?;
        stream.next = left;
        Ok(stream)
    }

    fn load(&mut self) -> Result<()> {
        let fill = self.order.fill(self.epoch, self.fill);
        self.rows.clear();
        let mut block = Vec::new();
        for rows in fill.blocks {
            self.data.file.read(&self.data.tap, rows.start, rows.len(), &mut block)?;
            self.rows.extend_from_slice(&block);
        }
        (self.places, self.next) = (fill.places, 0);
        Ok(())
    }

    /// Replaces `out` by the next `count` rows.
    pub(super) fn batch(&mut self, count: usize, out: &mut Vec<f32>) -> Result<()> {
        let width = self.data.width;
        out.clear();
        while out.len() < count * width {
            if self.next == self.places.len() {
                self.fill += 1;
                if self.fill == self.order.fills() {
                    (self.epoch, self.fill) = (self.epoch + 1, 0);
                }
                self.load()?;
                continue;
            }
            let place = self.places[self.next] as usize;
            out.extend_from_slice(&self.rows[place * width..][..width]);
            self.next += 1;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::fs;

    use coverslip_analysis::random::Random;
    use coverslip_bundle::tensors::{Tensor, TensorMap, to_safetensors};
    use coverslip_testkit::Scratch;

    use super::*;

    #[test]
    fn held_out_slides_are_never_trained_on_and_a_stream_goes_on_anywhere() {
        let folder = Scratch::new("stream");
        let mut random = Random::new(3);
        let values: Vec<f32> = (0..3000 * 8).map(|_| random.normal() as f32).collect();
        let tensors = TensorMap::from([("embedding_last".to_owned(), Tensor::f32(&[3000, 8], &values))]);
        let path = folder.join("e.safetensors");
        fs::write(&path, to_safetensors(&tensors).unwrap()).unwrap();
        let rows: String = (0..3000).map(|row| format!("{}\n", ["a", "b", "c", "d"][row % 4])).collect();
        fs::write(path.with_extension("csv"), format!("slide\n{rows}")).unwrap();
        let data = Data::open(&path, None, &SlideColumn::default(), |slides| Split::draw(slides, 0.25, 0)).unwrap();
        assert_eq!((data.split.held_out.len(), data.slides, data.width), (1, 4, 8));
        let mut held = Vec::new();
        data.blocks(false, |block| held.extend_from_slice(block)).unwrap();
        assert_eq!(held.len(), 750 * 8);
        let held: HashSet<Vec<u32>> =
            held.chunks_exact(8).map(|row| row.iter().map(|v| v.to_bits()).collect()).collect();
        // Some of them, of all parts of the file; all of them where more are asked for.
        let held_out = data.sample(false, 75, 5).unwrap().rows;
        let index = |row: &[f32]| values.chunks_exact(8).position(|it| it == row).unwrap();
        let places: Vec<usize> = held_out.chunks_exact(8).map(index).collect();
        assert!(places.len() == 75 && places.is_sorted() && places[37].abs_diff(1500) < 400, "{places:?}");
        assert_eq!(data.sample(false, 10_000, 5).unwrap().rows.len(), 750 * 8);
        let (mut stream, mut batch, mut all) = (Stream::new(&data, 1, 0).unwrap(), Vec::new(), Vec::new());
        for _ in 0..50 {
            stream.batch(100, &mut batch).unwrap();
            assert!(
                batch.chunks_exact(8).all(|row| !held.contains(&row.iter().map(|v| v.to_bits()).collect::<Vec<_>>()))
            );
            all.extend_from_slice(&batch);
        }
        // What identifies the data: the values and the slides, and not where they lie.
        let open = |path: &Path| {
            let data = Data::open(path, None, &SlideColumn::default(), |slides| Split::draw(slides, 0.25, 0)).unwrap();
            data.digest().unwrap()
        };
        let copy = folder.join("copy.safetensors");
        fs::copy(&path, &copy).unwrap();
        fs::write(copy.with_extension("csv"), format!("slide\n{rows}")).unwrap();
        assert_eq!(open(&copy), data.digest().unwrap());
        fs::write(copy.with_extension("csv"), format!("slide\n{}", rows.replacen('b', "a", 1))).unwrap();
        assert_ne!(open(&copy), data.digest().unwrap());
        let mut other = values.clone();
        other[2999 * 8] += 1.0;
        let tensors = TensorMap::from([("embedding_last".to_owned(), Tensor::f32(&[3000, 8], &other))]);
        fs::write(&copy, to_safetensors(&tensors).unwrap()).unwrap();
        fs::write(copy.with_extension("csv"), format!("slide\n{rows}")).unwrap();
        assert_ne!(open(&copy), data.digest().unwrap());
        // Across the end of an epoch of 2,250 rows, and within one.
        for skip in [0, 700, 2249, 2250, 4900] {
            Stream::new(&data, 1, skip).unwrap().batch(100, &mut batch).unwrap();
            assert_eq!(batch, all[skip as usize * 8..][..800], "{skip}");
        }
    }
}
