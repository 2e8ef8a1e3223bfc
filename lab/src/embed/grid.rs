//! How an input is cut into tiles.

use std::error::Error;

use coverslip_plugin_abi as abi;
use coverslip_slides::{Selection, SourceInfo};

use crate::play::{FieldOfView, resolution, stated};

/// Which part of an image the model sees as a tile.
#[derive(clap::ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Field {
    /// The model's own field of view, side by side; what is left at the edges is left out
    Grid,
    /// Each image as a whole, whatever it shows: the column `mpp` says what the model then sees
    Tile,
}

/// How inputs are cut.
#[derive(Debug, Clone)]
pub(crate) struct Cutting {
    /// Which image of a file, by which reader.
    pub(crate) selection: Selection,
    pub(crate) field: Field,
    /// Micrometres per pixel, by the user.
    pub(crate) mpp: Option<f64>,
    /// Whether inputs that are coarser than the model are enlarged.
    pub(crate) stretch: bool,
}

/// The tiles of an input.
pub(super) struct Grid {
    pub(super) tile: (u32, u32),
    pub(super) columns: u32,
    pub(super) rows: u32,
    /// What the plugin is told, µm/px in x and y.
    pub(super) told: (f64, f64),
    /// What the model sees, µm/px; NaN: not known.
    pub(super) seen: f64,
}

impl Grid {
    /// Cuts an input for a model.
    ///
    /// # Errors
    /// Where the input is too coarse, or its resolution is not known and matters.
    pub(super) fn new(info: &SourceInfo, model: &abi::RuntimeInfo, cutting: &Cutting) -> Result<Grid, Box<dyn Error>> {
        match cutting.field {
            Field::Tile => Ok(Grid::whole(info, model, cutting)?),
            Field::Grid => Grid::side_by_side(info, model, cutting),
        }
    }

    fn whole(info: &SourceInfo, model: &abi::RuntimeInfo, cutting: &Cutting) -> Result<Grid, String> {
        let side = model.side;
        let enlarged = f64::from(side) / f64::from(info.width.min(info.height));
        if enlarged > 1.1 && !cutting.stretch {
            return Err(format!(
                "{}: expected an image of about {side} x {side} px or more, found {} x {}: its pixels would be enlarged \
                 {enlarged:.2} times. Give --stretch to see what comes out",
                info.name, info.width, info.height
            ));
        }
        // The resolution at which the image is exactly one tile.
        let told = |pixels: u32| f64::from(side) * model.mpp / f64::from(pixels);
        let stated = stated(info, cutting.mpp);
        Ok(Grid {
            tile: (info.width, info.height),
            columns: 1,
            rows: 1,
            told: (told(info.width), told(info.height)),
            seen: stated.map_or(f64::NAN, |mpp| mpp.x * f64::from(info.width) / f64::from(side)),
        })
    }

    fn side_by_side(info: &SourceInfo, model: &abi::RuntimeInfo, cutting: &Cutting) -> Result<Grid, Box<dyn Error>> {
        let mpp = resolution(info, cutting.mpp)?;
        let field = FieldOfView::new(model.side, model.mpp, &mpp, cutting.stretch)
            .map_err(|error| format!("{}: {error}", info.name))?;
        Ok(Grid {
            tile: field.tile,
            columns: info.width / field.tile.0,
            rows: info.height / field.tile.1,
            told: (mpp.x, mpp.y),
            seen: field.effective_mpp.0,
        })
    }

    pub(super) fn count(&self) -> usize {
        self.columns as usize * self.rows as usize
    }

    /// Width and height of all tiles together, px.
    pub(super) fn extent(&self) -> (u32, u32) {
        (self.columns * self.tile.0, self.rows * self.tile.1)
    }
}
