//! Embeddings on their way into training: which slides are held out, and batches from a file larger than memory.

use std::path::Path;

use coverslip_analysis::random::Random;
use coverslip_analysis::sae::Order;
use serde::{Deserialize, Serialize};

use crate::embeddings::{EmbeddingError, EmbeddingFile, Result};

/// Rows of a block: what is read at a time.
const BLOCK: usize = 1024;
/// Bytes of rows in memory, between which training shuffles.
const TOGETHER: usize = 96 << 20;

/// Slides that the SAE is not trained on. Written beside the SAE, so that it is measured on these.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Split {
    pub(super) held_out: Vec<String>,
}

impl Split {
    /// Draws `part` of the slides, at least one of each kind where `part` is above 0.
    pub(super) fn draw(slides: &[String], part: f64, seed: u64) -> Result<Self> {
        let mut drawn: Vec<String> = slides.to_vec();
        drawn.sort();
        Random::new(seed).shuffle(&mut drawn);
        let count = (part * drawn.len() as f64).round() as usize;
        let count = if part > 0.0 { count.clamp(1, drawn.len()) } else { 0 };
        if count == drawn.len() {
            return Err(EmbeddingError(format!(
                "expected at least two slides, to train on some and measure on others, found {} ({}); give --held-out 0 to \
                 train on all and measure on none",
                slides.len(),
                slides.join(", ")
            )));
        }
        drawn.truncate(count);
        drawn.sort();
        Ok(Self { held_out: drawn })
    }
}

/// One tap of an embedding file, split by slide.
pub(super) struct Data {
    pub(super) file: EmbeddingFile,
    pub(super) tap: String,
    pub(super) width: usize,
    /// Rows to train on; the others are held out.
    pub(super) train: Vec<bool>,
    pub(super) slides: usize,
    pub(super) split: Split,
}

impl Data {
    /// Opens it. Without `tap` the file has to have one only. `split`: given, or drawn from the slides.
    pub(super) fn open(path: &Path, tap: Option<&str>, split: impl FnOnce(&[String]) -> Result<Split>) -> Result<Self> {
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
        let groups = file.groups("slide")?;
        let split = split(&groups.names)?;
        if let Some(stranger) = split.held_out.iter().find(|slide| !groups.names.contains(slide)) {
            return Err(EmbeddingError(format!(
                "{}: expected the slides that the SAE was trained with, found none called {stranger}",
                path.display()
            )));
        }
        let held: Vec<bool> = groups.names.iter().map(|name| split.held_out.contains(name)).collect();
        let train = groups.of.iter().map(|group| !held[*group as usize]).collect();
        Ok(Self { file, tap: tap.name, width: tap.width, train, slides: groups.names.len(), split })
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

    /// The first `most` held-out rows.
    pub(super) fn held_out(&self, most: usize) -> Result<Vec<f32>> {
        let mut rows = Vec::new();
        let full = most * self.width;
        self.blocks(false, |block| {
            let room = full - rows.len().min(full);
            rows.extend_from_slice(&block[..room.min(block.len())]);
        })?;
        Ok(rows)
    }
}

/// An endless stream of training rows: epoch after epoch, each in its own order.
pub(super) struct Stream<'d> {
    data: &'d Data,
    order: Order,
    epoch: u64,
    fill: usize,
    /// What is in memory.
    rows: Vec<f32>,
    places: Vec<u32>,
    next: usize,
}

impl<'d> Stream<'d> {
    /// A stream that begins behind `skip` rows.
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
