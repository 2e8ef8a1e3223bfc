//! Samples of slides: what the plugin measured on their tiles, taken as any host takes it.

use std::error::Error;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use coverslip_numerics::Draw;
use coverslip_plugin_abi as abi;
use coverslip_plugin_abi::names::precision_name;
use coverslip_profile::{Arithmetic, Measurements};
use coverslip_slides::simulated::{Change, Simulated};
use coverslip_slides::{Rect, Selection, SlideSource};

use crate::host::{ALERTS_OF_ENGINE, Session, Setup};
use crate::play::{Acquisition, Played, Settings, StatusLine, play, resolution};

/// An analysed tile.
#[derive(Debug, Clone)]
pub(super) struct SampleTile {
    /// Column and row of the model's grid: the same place on all scanners of registered slides.
    pub(super) place: (i32, i32),
    /// Left, top, width, height on the slide, px.
    pub(super) area: [i64; 4],
    pub(super) measurements: Measurements,
    /// Every tap, one after the other.
    pub(super) embedding: Vec<f32>,
    pub(super) features: Vec<(u32, f32)>,
    pub(super) reconstruction_error: f32,
    /// Raised flags, by general rules where there is no profile.
    pub(super) flags: u32,
}

/// What is kept of a slide.
#[derive(Debug, Clone)]
pub(super) struct Sample {
    pub(super) name: String,
    /// Analysed tiles, at most [`Sampling::tiles_per_slide`].
    pub(super) tiles: Vec<SampleTile>,
    /// Analysed tiles of the slide, of which `tiles` are some or all.
    pub(super) analysed: usize,
    /// All tiles of the slide, also those without tissue.
    pub(super) all_tiles: usize,
}

/// The plugin with a bundle, and how slides are read for it.
pub(super) struct Sampler {
    session: Session,
    sampling: Sampling,
}

/// How slides become samples.
#[derive(Debug, Clone)]
pub(crate) struct Sampling {
    /// Micrometres per pixel of every slide, by the user.
    pub(crate) mpp: Option<f64>,
    /// Tiles that are kept of a slide at most.
    pub(crate) tiles_per_slide: usize,
    /// The same seed draws the same tiles.
    pub(crate) seed: u64,
}

impl Sampler {
    /// Opens the bundle in the plugin.
    ///
    /// # Errors
    /// As [`Setup::open`].
    pub(super) fn open(setup: &Setup, sampling: &Sampling) -> Result<Sampler, Box<dyn Error>> {
        Ok(Sampler { session: setup.open(|_, _| true)?, sampling: sampling.clone() })
    }

    /// How the engine multiplies; `None`: in a way that profiles do not name.
    pub(super) fn precision(&self) -> Option<Arithmetic> {
        match self.session.info.precision {
            abi::PRECISION_FLOAT32 => Some(Arithmetic::Float32),
            abi::PRECISION_FLOAT16 => Some(Arithmetic::Float16),
            abi::PRECISION_BFLOAT16 => Some(Arithmetic::BFloat16),
            abi::PRECISION_INT8 => Some(Arithmetic::Int8),
            _ => None,
        }
    }

    /// The bundle's folder.
    pub(super) fn bundle(&self) -> &Path {
        &self.session.bundle
    }

    /// The model's µm/px.
    pub(super) fn model_mpp(&self) -> f64 {
        self.session.info.mpp
    }

    /// Plays a slide; a change, where one is given, begins at a row of pixels.
    pub(super) fn play(
        &self,
        path: &Path,
        scanner: &str,
        change: Option<(Change, u32)>,
    ) -> Result<Played, Box<dyn Error>> {
        let mut source = coverslip_slides::open(path, &Selection::default())?;
        let mpp = resolution(source.info(), self.sampling.mpp)?;
        let settings = Settings { embeddings: true, ..Settings::default() };
        let (acquisition, _) = Acquisition::whole_slide(&settings, scanner, &self.session.info, source.info(), &mpp)?;
        let run = |source: &mut dyn SlideSource| {
            let (see, watch) = (&mut |_: Rect, _: &[u8]| {}, &mut StatusLine::new(false));
            play(&self.session, &acquisition, source, see, watch, &AtomicBool::new(false))
        };
        let played = match change {
            None => run(source.as_mut())?,
            Some((change, from)) => run(&mut Simulated::new(source.as_mut(), change).starting_at(from))?,
        };
        played.conservation()?;
        match &played.error {
            Some(error) => Err(format!("{}: not played to its end: {error}", path.display()).into()),
            None => {
                let now = self.session.runtime.info()?.precision;
                one_precision(self.session.info.precision, now).map_err(|why| format!("{}: {why}", path.display()))?;
                Ok(played)
            }
        }
    }

    /// Plays a slide and keeps its tissue tiles.
    pub(super) fn sample(&self, path: &Path, scanner: &str, change: Option<Change>) -> Result<Sample, Box<dyn Error>> {
        let played = self.play(path, scanner, change.map(|change| (change, 0)))?;
        let done = played.collected.tiles.iter().filter(|tile| tile.result.status == abi::TILE_DONE);
        Ok(Sample {
            analysed: done.count(),
            name: path.display().to_string(),
            tiles: self.tiles(&played),
            all_tiles: played.collected.tiles.len(),
        })
    }

    /// Plays a slide that is changed from its middle on. Gives the code of each alert that came in the changed part, and
    /// the number of tiles of that part that had ended before it, background included.
    pub(super) fn alerts_from_the_middle(
        &self,
        path: &Path,
        scanner: &str,
        change: Change,
    ) -> Result<Vec<(i32, usize)>, Box<dyn Error>> {
        let middle = coverslip_slides::open(path, &Selection::default())?.info().height / 2;
        let played = self.play(path, scanner, Some((change, middle)))?;
        let mut ends: Vec<(u64, i64)> =
            played.collected.tiles.iter().map(|tile| (tile.result.sequence, tile.result.y)).collect();
        ends.sort_unstable();
        let changed_before = |seen: usize| ends.iter().take(seen).filter(|(_, y)| *y >= i64::from(middle)).count();
        let seen = played.alerts.iter().zip(&played.seen_at_alert);
        let of_change = seen.map(|(alert, &seen)| (alert.code, changed_before(seen)));
        Ok(of_change.filter(|(code, tiles)| *tiles > 0 && !ALERTS_OF_ENGINE.contains(code)).collect())
    }

    /// The analysed tiles of a slide, thinned by a draw that is the same for a place on every scanner.
    fn tiles(&self, played: &Played) -> Vec<SampleTile> {
        let collected = &played.collected;
        let done = collected.tiles.iter().filter(|tile| tile.result.status == abi::TILE_DONE);
        let mut tiles: Vec<SampleTile> = done
            .map(|tile| SampleTile {
                place: (tile.result.column, tile.result.row),
                area: [tile.result.x, tile.result.y, tile.result.width.into(), tile.result.height.into()],
                measurements: tile.result.measurements,
                embedding: collected.embedding(tile).to_vec(),
                features: collected.features(tile).iter().map(|feature| (feature.index, feature.value)).collect(),
                reconstruction_error: tile.result.reconstruction_error,
                flags: tile.result.flags_raised,
            })
            .collect();
        if tiles.len() > self.sampling.tiles_per_slide {
            let draw = |tile: &SampleTile| {
                let (column, row) = tile.place;
                Draw::new(self.sampling.seed).of(column as u64).of(row as u64).below(u64::MAX)
            };
            tiles.sort_by_key(draw);
            tiles.truncate(self.sampling.tiles_per_slide);
        }
        tiles.sort_by_key(|tile| (tile.place.1, tile.place.0));
        tiles
    }

    /// Micrometres per pixel of the slide at `path`, across.
    ///
    /// # Errors
    /// Where the slide cannot be opened, or neither its file nor the user says it.
    pub(super) fn slide_mpp(&self, path: &Path) -> Result<f64, Box<dyn Error>> {
        let source = coverslip_slides::open(path, &Selection::default())?;
        Ok(resolution(source.info(), self.sampling.mpp)?.x)
    }
}

/// Refuses samples of two precisions: an engine that is lost may hand over to one that rounds otherwise.
fn one_precision(opened: i32, now: i32) -> Result<(), String> {
    if opened == now {
        return Ok(());
    }
    Err(format!(
        "expected one precision for all slides, found that the engine was lost and {} runs instead of {}; run the command again \
         with --engine cpu, or once the GPU is well",
        precision_name(now),
        precision_name(opened)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_have_one_precision() {
        one_precision(abi::PRECISION_FLOAT16, abi::PRECISION_FLOAT16).unwrap();
        let refused = one_precision(abi::PRECISION_FLOAT16, abi::PRECISION_FLOAT32).unwrap_err();
        assert!(refused.contains("float32 runs instead of float16"), "{refused}");
    }
}
