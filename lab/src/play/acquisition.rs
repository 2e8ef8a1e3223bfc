//! One acquisition: what the plugin is told of a slide, and how its frames come.

use coverslip_plugin_abi as abi;
use coverslip_slides::{MPP_RANGE, Mpp, SourceInfo};

use super::field::FieldOfView;
use super::frames::{Frames, Layout};
use super::kept::Kept;

/// How a whole slide is played.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) layout: Layout,
    /// Width and height of a frame, px; None: the source's own tiles, cut where they are larger than any frame, or the
    /// layout's default.
    pub(crate) frame_size: Option<u32>,
    /// Tiles per second; None: as fast as the plugin takes them.
    pub(crate) rate: Option<f64>,
    /// With a rate: frames that the scanner can hold back.
    pub(crate) hold: usize,
    pub(crate) embeddings: bool,
    /// Whether a slide that is coarser than the model is enlarged.
    pub(crate) stretch: bool,
    /// The false-alarm level of calibrated flags.
    pub(crate) alpha: f64,
    /// `COVERSLIP_STAIN_*`.
    pub(crate) stain: i32,
}

impl Default for Settings {
    /// The source's own tiles, as fast as the plugin takes them, at a level of 1 %.
    fn default() -> Settings {
        Settings {
            layout: Layout::Tiles,
            frame_size: None,
            rate: None,
            hold: 0,
            embeddings: false,
            stretch: false,
            alpha: 0.01,
            stain: abi::STAIN_UNKNOWN,
        }
    }
}

/// The pace of a scanner that does not wait.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    pub(super) tiles_per_s: f64,
    /// Level-0 pixels of a tile.
    pub(super) tile_pixels: f64,
    /// Frames that the scanner can hold back; beyond them the oldest is lost.
    pub(super) hold: usize,
}

/// A slide as it is played.
#[derive(Debug, Clone)]
pub(crate) struct Acquisition {
    /// The name by which a profile knows the scanner.
    pub(super) scanner_id: String,
    pub(super) slide_id: String,
    /// What the plugin is told, µm/px in x and y.
    pub(super) mpp: (f64, f64),
    /// Width and height of what is scanned, px.
    pub(super) extent: (u32, u32),
    /// The box within which tiles may be partial at the same time, px.
    pub(super) spread: (u32, u32),
    pub(super) frames: Frames,
    /// 0: the plugin's own level.
    pub(super) alpha: f64,
    /// `COVERSLIP_STAIN_*`.
    pub(super) stain: i32,
    /// `COVERSLIP_SLIDE_*`.
    pub(crate) flags: u32,
    /// Of each tile's embedding.
    pub(crate) kept: Kept,
    pub(super) pace: Option<Pace>,
}

impl Acquisition {
    /// Every tile in a frame of its own, from left to right and from top to bottom, without a pace.
    ///
    /// # Errors
    /// Where there are more tiles than any slide has, or a pixel is smaller or larger than the plugin takes.
    pub(crate) fn tile_by_tile(
        scanner_id: &str,
        slide_id: &str,
        mpp: (f64, f64),
        tile: (u32, u32),
        extent: (u32, u32),
    ) -> Result<Acquisition, String> {
        expect_playable(mpp, extent)?;
        Ok(Acquisition {
            scanner_id: scanner_id.to_owned(),
            slide_id: slide_id.to_owned(),
            mpp,
            extent,
            spread: tile,
            frames: Frames::new(Layout::Tiles, Some(tile), extent.0, extent.1)?,
            alpha: 0.0,
            stain: abi::STAIN_UNKNOWN,
            flags: abi::SLIDE_EMBEDDINGS,
            kept: Kept::All,
            pace: None,
        })
    }

    /// A whole slide as `settings` say, and what the model sees in a tile.
    ///
    /// # Errors
    /// Where the slide is too coarse for the model, or has more frames than any scanner's.
    pub(crate) fn whole_slide(
        settings: &Settings,
        scanner_id: &str,
        info: &abi::RuntimeInfo,
        source: &SourceInfo,
        mpp: &Mpp,
    ) -> Result<(Acquisition, FieldOfView), String> {
        let (width, height) = (source.width, source.height);
        let field = FieldOfView::new(info.side, info.mpp, mpp, settings.stretch)?;
        let layout = settings.layout;
        let frames = match (settings.frame_size, source.natural_tile) {
            (None, Some(tile)) => Frames::of_tiles(layout, tile, width, height),
            (size, _) => Frames::new(layout, size.map(|size| (size, size)), width, height),
        };
        let frames = frames.map_err(|error| format!("{}: {error}", source.name))?;
        let acquisition = Acquisition {
            scanner_id: scanner_id.to_owned(),
            slide_id: source.name.clone(),
            mpp: (mpp.x, mpp.y),
            extent: (width, height),
            // A line of frames opens a whole row of tiles before the next line closes it.
            spread: (width, frames.height),
            frames,
            alpha: settings.alpha,
            stain: settings.stain,
            flags: if settings.embeddings { abi::SLIDE_EMBEDDINGS } else { 0 },
            kept: Kept::All,
            pace: settings.rate.map(|tiles_per_s| Pace {
                tiles_per_s,
                tile_pixels: f64::from(field.tile.0) * f64::from(field.tile.1),
                hold: settings.hold,
            }),
        };
        Ok((acquisition, field))
    }
}

/// Refuses a resolution that the plugin would refuse in the contract's words, after the pixels were read. Where an image is
/// one tile, as with `--field tile`, its size decides.
fn expect_playable(mpp: (f64, f64), (width, height): (u32, u32)) -> Result<(), String> {
    if MPP_RANGE.contains(&mpp.0) && MPP_RANGE.contains(&mpp.1) {
        return Ok(());
    }
    Err(format!(
        "expected tiles that the model sees at {} to {} um/px, found {width} x {height} px whose tiles it would see at {:.5} x \
         {:.5} um/px; give smaller or larger images, or have them cut into tiles with --field grid and --mpp",
        MPP_RANGE.start(),
        MPP_RANGE.end(),
        mpp.0,
        mpp.1
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_of_pixels_that_the_plugin_does_not_take_are_refused_before_they_are_read() {
        let made = |told: f64, side: u32| Acquisition::tile_by_tile("s", "a", (told, 0.5), (side, side), (side, side));
        let refused = made(0.00704, 15_900).unwrap_err();
        assert!(refused.contains("15900 x 15900 px") && refused.contains("0.00704 x 0.50000 um/px"), "{refused}");
        assert!(refused.contains("--field grid") && made(101.0, 1).is_err() && made(f64::NAN, 1).is_err());
        assert_eq!(made(0.01, 11_200).unwrap().mpp, (0.01, 0.5));
    }
}
