//! One slide or image through the plugin: whole tiles in, their embeddings out.

use std::collections::HashMap;
use std::error::Error;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use coverslip_numerics::there_is;
use coverslip_plugin_abi as abi;
use coverslip_plugin_abi::names::status_name;
use coverslip_slides::Rect;

use super::colour::{Densities, Nuclei, TileColour};
use super::done::Done;
use super::grid::{Cutting, Field, Grid};
use super::inputs::{slide_of, stem};
use super::rows::Rows;
use crate::embeddings::TileRecord;
use crate::host::{SCANNER_ID, Session};
use crate::play::{Acquisition, Kept, Played, Watch, play};

/// What the table calls slides and scanners.
#[derive(Debug, Clone)]
pub(crate) struct Naming {
    /// An image belongs to the slide that is named before the last one of these.
    pub(crate) slide_separator: Option<String>,
    /// Empty: not known.
    pub(crate) scanner: String,
}

/// Bytes of a row's cells, and how often the values of an embedding are in memory: as they came, and as rows.
const ROW_BYTES: u64 = 1024;
const COPIES: u64 = 2;

/// Colours of tiles, by column and row.
type Colours = HashMap<(u32, u32), TileColour>;

/// What the rows of an input have in common.
struct Origin<'p> {
    path: &'p Path,
    /// Of a file with several scenes.
    scene: Option<u32>,
    /// What the model sees, µm/px.
    seen: f64,
}

/// What an input is refused with that there is no memory for.
fn no_memory(path: &Path, values: u64, tiles: usize, kept: &Kept) -> String {
    let advice = match kept {
        Kept::Tokens(_) => "take fewer tokens of a tile (--tokens-per-tile), or cut the slide into parts",
        Kept::All | Kept::Taps(_) => "free some, or cut the slide into parts",
    };
    format!("{}: expected memory for {values} values of each of {tiles} tiles, found none; {advice}", path.display())
}

/// What holds for every input.
pub(super) struct Embedder<'a> {
    pub(super) session: &'a Session,
    pub(super) cutting: &'a Cutting,
    pub(super) naming: &'a Naming,
    pub(super) rows: &'a Rows,
    /// Whether tiles without tissue are embedded.
    pub(super) background: bool,
    pub(super) stop: &'a AtomicBool,
}

impl Embedder<'_> {
    /// Embeds the tiles of `path`, ordered by row and column.
    ///
    /// # Errors
    /// Where the file cannot be read or cut, or a tile has no embedding though it should have one.
    pub(super) fn embed(&self, path: &Path, watch: &mut dyn Watch) -> Result<Done, Box<dyn Error>> {
        let mut source = coverslip_slides::open(path, &self.cutting.selection)?;
        let grid = Grid::new(source.info(), &self.session.info, self.cutting)?;
        if grid.count() == 0 {
            return Ok(Done { too_small: 1, ..Done::default() });
        }
        let scanner = if self.naming.scanner.is_empty() { SCANNER_ID } else { &self.naming.scanner };
        let acquisition = Acquisition::tile_by_tile(scanner, &stem(path), grid.told, grid.tile, grid.extent());
        let mut acquisition = acquisition.map_err(|error| format!("{}: {error}", path.display()))?;
        acquisition.kept = self.rows.kept(&stem(path));
        self.check_memory(path, grid.count(), &acquisition.kept)?;
        if self.background {
            acquisition.flags |= abi::SLIDE_ANALYSE_BACKGROUND;
        }
        // Of tiles that have pixels: a scanner may have left most of them out.
        let (mut colours, densities) = (Colours::new(), Densities::new());
        let mut see = |rect: Rect, pixels: &[u8]| {
            let place = (rect.x / grid.tile.0, rect.y / grid.tile.1);
            colours.entry(place).or_default().add(pixels, &densities);
        };
        let played = play(self.session, &acquisition, source.as_mut(), &mut see, watch, self.stop)?;
        match played.error {
            Some(error) => Err(error.into()),
            None => {
                let chosen = source.info().scenes.iter().find(|scene| scene.chosen);
                let origin = Origin { path, scene: chosen.map(|scene| scene.number), seen: grid.seen };
                self.records(&origin, &acquisition.kept, &played, &colours)
            }
        }
    }

    /// Refuses an input whose tiles this machine has no memory for: they are held until its last one is done.
    fn check_memory(&self, path: &Path, tiles: usize, kept: &Kept) -> Result<(), String> {
        let values = kept.width(self.session.info.embedding_width as usize) as u64;
        let row = ROW_BYTES.saturating_mul(self.rows.per_tile() as u64);
        if there_is((tiles as u64).saturating_mul(row + COPIES * 4 * values)) {
            return Ok(());
        }
        Err(no_memory(path, values, tiles, kept))
    }

    /// What is written of the tiles.
    ///
    /// # Errors
    /// Where a tile was neither analysed nor background.
    fn records(
        &self,
        origin: &Origin<'_>,
        kept: &Kept,
        played: &Played,
        colours: &Colours,
    ) -> Result<Done, Box<dyn Error>> {
        let mut done = Done::default();
        let (nuclei, unseen) = (Nuclei::of(colours.values()), TileColour::default());
        for found in &played.collected.tiles {
            let tile = &found.result;
            match tile.status {
                abi::TILE_DONE => {}
                abi::TILE_BACKGROUND => {
                    done.background += 1;
                    continue;
                }
                abi::TILE_INCOMPLETE => {
                    done.unscanned += 1;
                    continue;
                }
                // The caller knows that it was stopped, and writes nothing.
                abi::TILE_CANCELLED if self.stop.load(Ordering::SeqCst) => continue,
                other => {
                    return Err(format!(
                        "{}: the tile in column {}, row {} ended as {}, expected an embedding; look for damage in the \
                         file, or report it",
                        origin.path.display(),
                        tile.column,
                        tile.row,
                        status_name(other)
                    )
                    .into());
                }
            }
            let features = played.collected.features(found);
            let colour = colours.get(&(tile.column as u32, tile.row as u32)).unwrap_or(&unseen);
            let (cells, embedding) = (self.cells(origin, tile, colour, nuclei), played.collected.embedding(found));
            match kept {
                Kept::Tokens(tokens) => {
                    let across = tokens.patches.isqrt().max(1);
                    let patches = tokens.of_tile(tile.column, tile.row).into_iter();
                    for (patch, token) in patches.zip(embedding.chunks_exact(tokens.width)) {
                        let place = [patch % across, patch / across].map(|number| number.to_string());
                        let cells = cells.iter().cloned().chain(place).collect();
                        done.records.push(TileRecord { cells, embedding: token.to_vec(), features: Vec::new() });
                    }
                }
                _ => done.records.push(TileRecord {
                    cells,
                    embedding: embedding.to_vec(),
                    features: features.iter().map(|feature| (feature.index, feature.value)).collect(),
                }),
            }
        }
        Ok(done)
    }

    /// A tile's cells in the table.
    fn cells(&self, origin: &Origin<'_>, tile: &abi::TileResult, colour: &TileColour, nuclei: Nuclei) -> Vec<String> {
        let name = stem(origin.path);
        let number = |value: f64| if value.is_nan() { String::new() } else { format!("{value:.6}") };
        let mean = colour.mean();
        let tissue = f64::from(tile.scores[abi::FLAG_BACKGROUND.trailing_zeros() as usize]);
        let tile_name = match self.cutting.field {
            Field::Tile => name.clone(),
            Field::Grid => format!("{name}:{}:{}", tile.column, tile.row),
        };
        vec![
            slide_of(&name, self.naming.slide_separator.as_deref()),
            origin.path.display().to_string(),
            tile_name,
            tile.column.to_string(),
            tile.row.to_string(),
            tile.x.to_string(),
            tile.y.to_string(),
            tile.width.to_string(),
            tile.height.to_string(),
            number(origin.seen),
            self.naming.scanner.clone(),
            number(mean[0]),
            number(mean[1]),
            number(mean[2]),
            number(tissue),
            number(colour.haematoxylin_area(nuclei)),
            origin.scene.map_or(String::new(), |scene| scene.to_string()),
        ]
    }
}

#[cfg(test)]
mod tests {
    use coverslip_numerics::Draw;

    use super::*;
    use crate::play::TokenDraw;

    #[test]
    fn fewer_tokens_are_advised_where_tokens_are_kept() {
        let tokens = TokenDraw { start: 0, width: 2, patches: 9, per_tile: 4, draw: Draw::new(5) };
        let said = |kept: Kept| no_memory(Path::new("slide.svs"), 8, 3, &kept);
        assert!(said(Kept::Tokens(tokens)).contains("--tokens-per-tile"));
        for kept in [Kept::All, Kept::Taps(vec![0..2, 4..6])] {
            let said = said(kept);
            assert!(said.contains("slide.svs: expected memory for 8 values of each of 3 tiles"), "{said}");
            assert!(said.contains("cut the slide") && !said.contains("tokens"), "{said}");
        }
    }
}
