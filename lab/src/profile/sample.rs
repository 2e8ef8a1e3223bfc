//! Slides become samples: what the plugin measured on their tiles, taken as any host takes it.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use coverslip_numerics::Draw;
use coverslip_plugin_abi as abi;
use coverslip_profile::Measurements;

use crate::host::{Library, Runtime};
use crate::scan::{Layout, Played, Settings, play};
use coverslip_slides::simulated::{Change, Simulated};
use coverslip_slides::{self, Mpp, SlideSource};

/// A tile that was analysed.
#[derive(Debug, Clone)]
pub(super) struct Tile {
    /// Column and row of the model's grid: the same place on every scanner of a registered pair.
    pub(super) place: (i32, i32),
    pub(super) measurements: Measurements,
    /// Every tap, one after the other.
    pub(super) embedding: Vec<f32>,
    pub(super) features: Vec<(u32, f32)>,
    pub(super) reconstruction_error: f32,
    /// Flags that were raised, by general rules where no profile was given.
    pub(super) flags: u32,
}

/// What is kept of a slide.
#[derive(Debug, Clone)]
pub(super) struct Sample {
    pub(super) name: String,
    /// Analysed tiles, at most as many as were asked for.
    pub(super) tiles: Vec<Tile>,
    /// Tiles of the slide, with those of glass.
    pub(super) all_tiles: usize,
}

/// The plugin with a bundle, and how slides are read for it.
pub(super) struct Reader<'l> {
    pub(super) runtime: Runtime<'l>,
    pub(super) info: abi::RuntimeInfo,
    mpp: Option<f64>,
    most: usize,
    seed: u64,
}

/// What all commands that play slides take.
#[derive(clap::Args, Debug, Clone)]
pub(super) struct Source {
    /// The model
    #[arg(long, value_name = "DIR")]
    pub(super) bundle: PathBuf,
    /// The shared library [default: the one built together with this command]
    #[arg(long, value_name = "FILE")]
    pub(super) library: Option<PathBuf>,
    /// Micrometres per pixel of every slide; overrides what the files say
    #[arg(long, value_name = "UM")]
    pub(super) mpp: Option<f64>,
    /// Threads of the engine [default: one per CPU]
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    pub(super) threads: u32,
    /// Tiles that are kept of a slide at most, drawn from all of its tissue
    #[arg(long, value_name = "N", default_value_t = 2000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(super) tiles_per_slide: u32,
    /// The same seed draws the same slides and tiles
    #[arg(long, default_value_t = 1)]
    pub(super) seed: u64,
}

impl<'l> Reader<'l> {
    /// Opens the bundle in the plugin.
    pub(super) fn open(
        library: &'l Library,
        source: &Source,
        profile: Option<&Path>,
    ) -> Result<Reader<'l>, Box<dyn Error>> {
        let runtime = Runtime::open(library, &source.bundle, profile, abi::ENGINE_CPU, source.threads, |_, _| true)?;
        let info = runtime.info()?;
        let most = source.tiles_per_slide as usize;
        Ok(Reader { runtime, info, mpp: source.mpp, most, seed: source.seed })
    }

    /// Plays a slide, behind a change from a row on where one is given.
    pub(super) fn play(
        &self,
        path: &Path,
        scanner: &str,
        change: Option<(Change, u32)>,
    ) -> Result<Played, Box<dyn Error>> {
        let mut source = coverslip_slides::open(path)?;
        let mpp = self.resolution(source.as_ref())?;
        let settings = Settings {
            scanner_id: scanner.to_owned(),
            layout: Layout::Tiles,
            frame_size: None,
            rate: None,
            hold: 0,
            embeddings: true,
            stretch: false,
            alpha: 0.01,
            tell_alerts: false,
        };
        let stop = AtomicBool::new(false);
        let played = match change {
            None => play(&settings, &self.runtime, &self.info, source.as_mut(), &mpp, &stop)?,
            Some((change, from)) => {
                let mut changed = Simulated::new(source.as_mut(), change).starting_at(from);
                play(&settings, &self.runtime, &self.info, &mut changed, &mpp, &stop)?
            }
        };
        played.conservation()?;
        match &played.error {
            Some(error) => Err(format!("{}: not played to its end: {error}", path.display()).into()),
            None => Ok(played),
        }
    }

    /// Plays a slide and keeps its tissue tiles.
    pub(super) fn sample(&self, path: &Path, scanner: &str, change: Option<Change>) -> Result<Sample, Box<dyn Error>> {
        let played = self.play(path, scanner, change.map(|change| (change, 0)))?;
        Ok(Sample {
            name: path.display().to_string(),
            tiles: self.tiles(&played),
            all_tiles: played.collected.tiles.len(),
        })
    }

    /// A slide that is changed from its middle on: each alert that belongs to the change, and how many tiles of the
    /// changed part had ended when it came, background among them.
    pub(super) fn alerts_from_the_middle(
        &self,
        path: &Path,
        scanner: &str,
        change: Change,
    ) -> Result<Vec<(i32, usize)>, Box<dyn Error>> {
        let middle = coverslip_slides::open(path)?.info().height / 2;
        let played = self.play(path, scanner, Some((change, middle)))?;
        let mut ends: Vec<(u64, i64)> =
            played.collected.tiles.iter().map(|tile| (tile.result.sequence, tile.result.y)).collect();
        ends.sort_unstable();
        let changed_before = |seen: usize| ends.iter().take(seen).filter(|(_, y)| *y >= i64::from(middle)).count();
        let seen = played.alerts.iter().zip(&played.seen_at_alert);
        let of_change = seen.map(|(alert, &seen)| (alert.code, changed_before(seen)));
        Ok(of_change.filter(|&(code, tiles)| tiles > 0 && code != abi::ALERT_ENGINE_FALLBACK).collect())
    }

    /// The analysed tiles of a slide, thinned evenly by a draw that is the same for a place on every scanner.
    pub(super) fn tiles(&self, played: &Played) -> Vec<Tile> {
        let collected = &played.collected;
        let done = collected.tiles.iter().filter(|tile| tile.result.status == abi::TILE_DONE);
        let mut tiles: Vec<Tile> = done
            .map(|tile| Tile {
                place: (tile.result.column, tile.result.row),
                measurements: tile.result.measurements,
                embedding: collected.embedding(tile).to_vec(),
                features: collected.features(tile).iter().map(|feature| (feature.index, feature.value)).collect(),
                reconstruction_error: tile.result.reconstruction_error,
                flags: tile.result.flags_raised,
            })
            .collect();
        if tiles.len() > self.most {
            let draw = |tile: &Tile| {
                let (column, row) = tile.place;
                Draw::new(self.seed).of(column as u64).of(row as u64).below(u64::MAX)
            };
            tiles.sort_by_key(draw);
            tiles.truncate(self.most);
        }
        tiles.sort_by_key(|tile| (tile.place.1, tile.place.0));
        tiles
    }

    /// Micrometres per pixel of a slide; its file has to say it where `--mpp` does not.
    pub(super) fn resolution(&self, source: &dyn SlideSource) -> Result<Mpp, Box<dyn Error>> {
        if let Some(mpp) = self.mpp {
            return Ok(Mpp { x: mpp, y: mpp, source: "--mpp".into() });
        }
        let info = source.info();
        info.mpp.clone().ok_or_else(|| {
            format!(
                "{}: expected micrometres per pixel in the file, found none. Give them with --mpp, for example --mpp \
                 0.25 for 40x",
                info.name
            )
            .into()
        })
    }
}
