//! One slide or image through the plugin: whole tiles in, their embeddings out.

use std::error::Error;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use coverslip_plugin_abi as abi;

use super::inputs::{slide_of, stem};
use super::{Args, Field};
use crate::embeddings::{COLUMNS, TileRecord};
use crate::host::{HostError, Results, RgbFrame, Runtime, Slide};
use crate::scan::{FieldOfView, status_name};
use coverslip_slides::{self, Mpp, Rect, SlideSource, SourceError};

/// Results taken at a time.
const BATCH: usize = 64;

/// What holds for every input.
pub(super) struct Session<'a> {
    pub(super) args: &'a Args,
    pub(super) runtime: &'a Runtime<'a>,
    pub(super) info: &'a abi::RuntimeInfo,
    pub(super) stop: &'a AtomicBool,
}

/// What came of an input.
#[derive(Debug, Default)]
pub(super) struct Done {
    pub(super) records: Vec<TileRecord>,
    /// Tiles without tissue.
    background: usize,
    /// Inputs smaller than a tile.
    too_small: usize,
}

impl Done {
    /// Adds another's counts, not its tiles.
    pub(super) fn add(&mut self, other: &Done) {
        self.background += other.background;
        self.too_small += other.too_small;
    }

    pub(super) fn left_out(&self) -> String {
        format!("left out: {} without tissue, {} inputs smaller than a tile", self.background, self.too_small)
    }

    /// Why there is not one tile.
    pub(super) fn nothing(&self, field: Field) -> String {
        let mut advice = vec![format!("expected at least one tile, found none ({})", self.left_out())];
        if self.background > 0 {
            advice.push("--background embeds tiles without tissue too".into());
        }
        if self.too_small > 0 && field == Field::Grid {
            advice.push("--field tile takes each image as one tile, whatever it shows".into());
        }
        advice.join("; ")
    }
}

/// The tiles of an input.
struct Grid {
    tile: (u32, u32),
    columns: u32,
    rows: u32,
    /// What the slide is said to have, µm/px in x and y.
    stated: (f64, f64),
    /// What the model sees, µm/px; NaN: not known.
    seen: f64,
}

impl Session<'_> {
    /// Embeds the tiles of `path`, ordered by row and column. `show`: part done and tiles so far.
    pub(super) fn embed(&self, path: &Path, mut show: impl FnMut(f64, usize)) -> Result<Done, Box<dyn Error>> {
        let mut source = coverslip_slides::open(path)?;
        let grid = self.grid(source.as_ref())?;
        let count = grid.columns as usize * grid.rows as usize;
        if count == 0 {
            return Ok(Done { too_small: 1, ..Done::default() });
        }
        let slide = self.runtime.begin(&self.args.scanner_id(), &stem(path), |desc| {
            (desc.mpp_x, desc.mpp_y) = grid.stated;
            (desc.extent_width, desc.extent_height) =
                (u64::from(grid.columns * grid.tile.0), u64::from(grid.rows * grid.tile.1));
            (desc.max_frame_width, desc.max_frame_height) = grid.tile;
            (desc.spread_width, desc.spread_height) = (grid.tile.0.into(), grid.tile.1.into());
            desc.flags = abi::SLIDE_EMBEDDINGS;
            if self.args.background {
                desc.flags |= abi::SLIDE_ANALYSE_BACKGROUND;
            }
        })?;
        let colours = Mutex::new(vec![[f64::NAN; 3]; count]);
        let mut tiles = Vec::new();
        let failed = std::thread::scope(|scope| {
            let submitter = scope.spawn(|| {
                let outcome = self.submit(source.as_mut(), &slide, &grid, &colours);
                if outcome.is_err() {
                    // Ends the receiver below; what was wrong is in `outcome`.
                    let _ = slide.cancel();
                }
                outcome.and_then(|()| self.finish(&slide))
            });
            let mut results = Results::new(BATCH, self.info.features_per_tile, self.info.embedding_width);
            let received = loop {
                match slide.wait(&mut results, Duration::from_millis(200)) {
                    Ok(true) => tiles.extend(results.iter().map(|(r, f, e)| (*r, f.to_vec(), e.to_vec()))),
                    Ok(false) => break Ok(()),
                    Err(error) => {
                        // The submitter must not wait for room that nobody makes.
                        let _ = slide.cancel();
                        break Err(error);
                    }
                }
                show(tiles.len() as f64 / count as f64, tiles.len());
            };
            let submitted =
                submitter.join().map_err(|_| SourceError("the thread that reads the slide has failed".into()));
            match submitted {
                Err(error) | Ok(Err(Failed::Source(error))) => Err(Box::<dyn Error>::from(error)),
                Ok(Err(Failed::Host(error))) => Err(error.into()),
                Ok(Ok(())) => received.map_err(Into::into),
            }
        });
        failed?;
        let colours = colours.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        self.records(path, &grid, tiles, &colours)
    }

    fn grid(&self, source: &dyn SlideSource) -> Result<Grid, Box<dyn Error>> {
        let info = source.info();
        let stated = self.args.mpp.map(|mpp| Mpp { x: mpp, y: mpp, source: "--mpp".into() }).or(info.mpp.clone());
        let side = self.info.side;
        if self.args.field == Field::Tile {
            let enlarged = f64::from(side) / f64::from(info.width.min(info.height));
            if enlarged > 1.1 && !self.args.stretch {
                return Err(format!(
                    "{}: expected an image of about {side} x {side} px or more, found {} x {}: its pixels would be enlarged \
                     {enlarged:.2} times. Give --stretch to see what comes out",
                    info.name, info.width, info.height
                )
                .into());
            }
            // Said to be as coarse as makes the image one tile.
            let said = |pixels: u32| f64::from(side) * self.info.mpp / f64::from(pixels);
            let seen = stated.map_or(f64::NAN, |mpp| mpp.x * f64::from(info.width) / f64::from(side));
            let (tile, said) = ((info.width, info.height), (said(info.width), said(info.height)));
            return Ok(Grid { tile, columns: 1, rows: 1, stated: said, seen });
        }
        let mpp = stated.ok_or_else(|| {
            format!(
                "{}: expected micrometres per pixel in the file, found none ({}). Give them with --mpp",
                info.name,
                info.mpp_missing.as_deref().unwrap_or("no tag says it")
            )
        })?;
        let field = FieldOfView::new(side, self.info.mpp, &mpp, self.args.stretch)
            .map_err(|error| format!("{}: {error}", info.name))?;
        Ok(Grid {
            tile: field.tile,
            columns: info.width / field.tile.0,
            rows: info.height / field.tile.1,
            stated: (mpp.x, mpp.y),
            seen: field.effective_mpp.0,
        })
    }

    /// Submits tile after tile, and notes their mean colours.
    fn submit(
        &self,
        source: &mut dyn SlideSource,
        slide: &Slide<'_>,
        grid: &Grid,
        colours: &Mutex<Vec<[f64; 3]>>,
    ) -> Result<(), Failed> {
        let mut pixels = Vec::new();
        let (width, height) = grid.tile;
        for at in 0..grid.columns * grid.rows {
            if self.stop.load(Ordering::SeqCst) {
                return slide.cancel().map_err(Failed::Host);
            }
            let rect = Rect { x: at % grid.columns * width, y: at / grid.columns * height, width, height };
            source.read(rect, &mut pixels).map_err(Failed::Source)?;
            colours.lock().unwrap_or_else(std::sync::PoisonError::into_inner)[at as usize] = mean_colour(&pixels);
            let (x, y) = (rect.x.into(), rect.y.into());
            let frame = RgbFrame {
                x,
                y,
                width,
                height,
                pixels: &pixels,
                frame_id: u64::from(at) + 1,
                group_id: 0,
                capture_time_ns: 0,
            };
            // Long: a wait that runs out would be a refused frame.
            slide.submit(&frame, Some(Duration::from_secs(3600))).map_err(Failed::Host)?;
        }
        Ok(())
    }

    fn finish(&self, slide: &Slide<'_>) -> Result<(), Failed> {
        while !slide.finish(Duration::from_millis(500)).map_err(Failed::Host)? {
            if self.stop.load(Ordering::SeqCst) {
                slide.cancel().map_err(Failed::Host)?;
            }
        }
        Ok(())
    }

    /// What is written of the tiles; one that was neither analysed nor background is an error.
    fn records(
        &self,
        path: &Path,
        grid: &Grid,
        mut tiles: Vec<(abi::TileResult, Vec<abi::Feature>, Vec<f32>)>,
        colours: &[[f64; 3]],
    ) -> Result<Done, Box<dyn Error>> {
        let mut done = Done::default();
        tiles.sort_by_key(|(tile, ..)| (tile.row, tile.column));
        for (tile, features, embedding) in tiles {
            match tile.status {
                abi::TILE_DONE => {}
                abi::TILE_BACKGROUND => {
                    done.background += 1;
                    continue;
                }
                // The caller knows that it was stopped, and writes nothing.
                abi::TILE_CANCELLED if self.stop.load(Ordering::SeqCst) => continue,
                other => {
                    return Err(format!(
                        "{}: the tile in column {}, row {} ended as {}, expected an embedding; look for damage in the \
                         file, or report it",
                        path.display(),
                        tile.column,
                        tile.row,
                        status_name(other)
                    )
                    .into());
                }
            }
            let place = tile.row as usize * grid.columns as usize + tile.column as usize;
            done.records.push(TileRecord {
                cells: self.cells(path, grid, &tile, colours.get(place).copied().unwrap_or([f64::NAN; 3])),
                embedding,
                features: features.iter().map(|feature| (feature.index, feature.value)).collect(),
            });
        }
        Ok(done)
    }

    fn cells(&self, path: &Path, grid: &Grid, tile: &abi::TileResult, colour: [f64; 3]) -> [String; COLUMNS.len()] {
        let name = stem(path);
        let number = |value: f64| if value.is_nan() { String::new() } else { format!("{value:.6}") };
        let tissue = f64::from(tile.scores[abi::FLAG_BACKGROUND.trailing_zeros() as usize]);
        let tile_name = match self.args.field {
            Field::Tile => name.clone(),
            Field::Grid => format!("{name}:{}:{}", tile.column, tile.row),
        };
        [
            slide_of(&name, self.args.slide_separator.as_deref()),
            path.display().to_string(),
            tile_name,
            tile.column.to_string(),
            tile.row.to_string(),
            tile.x.to_string(),
            tile.y.to_string(),
            tile.width.to_string(),
            tile.height.to_string(),
            number(grid.seen),
            self.args.scanner.clone(),
            number(colour[0]),
            number(colour[1]),
            number(colour[2]),
            number(tissue),
        ]
    }
}

impl Args {
    /// The contract wants a name.
    fn scanner_id(&self) -> String {
        if self.scanner.is_empty() { "coverslip-lab".into() } else { self.scanner.clone() }
    }
}

/// Why a slide could not be submitted.
enum Failed {
    Source(SourceError),
    Host(HostError),
}

/// Mean R, G, B, 0..255.
fn mean_colour(pixels: &[u8]) -> [f64; 3] {
    let mut sums = [0_u64; 3];
    for pixel in pixels.chunks_exact(3) {
        sums.iter_mut().zip(pixel).for_each(|(sum, value)| *sum += u64::from(*value));
    }
    sums.map(|sum| sum as f64 / (pixels.len() / 3) as f64)
}
