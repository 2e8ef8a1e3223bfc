//! The field of view: how much of the slide the model sees in a tile, and with how much detail. Taking pixels
//! together is honest at any ratio; making more of them than the scanner saw invents detail that features
//! will be read from.

use coverslip_slides::Mpp;

/// By how much pixels may be enlarged before the model sees something that it was not trained on.
const MOST_ENLARGED: f64 = 1.10;

/// What the model sees of a slide. Sizes in x and y.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct FieldOfView {
    /// Pixels of the slide in a tile.
    pub(crate) tile: (u32, u32),
    /// Micrometres of tissue in a tile.
    pub(crate) micrometres: (f64, f64),
    /// µm per pixel of the detail that the model sees: of its own pixels, or the slide's where these are coarser.
    pub(crate) effective_mpp: (f64, f64),
    /// Whether the slide is coarser than the model by more than is honest, and was taken all the same.
    pub(crate) stretched: bool,
}

impl FieldOfView {
    /// Of a model of `side` px at `model_mpp` µm/px, on a slide of `mpp`.
    ///
    /// # Errors
    /// When the slide's pixels would have to be enlarged by more than 10 %, unless `stretch`.
    pub(crate) fn new(side: u32, model_mpp: f64, mpp: &Mpp, stretch: bool) -> Result<Self, String> {
        let axis = |mpp: f64| {
            let tile = (f64::from(side) * model_mpp / mpp).round().max(1.0);
            (tile as u32, tile * mpp, (tile * mpp / f64::from(side)).max(mpp))
        };
        let (x, y) = (axis(mpp.x), axis(mpp.y));
        let enlarged = mpp.x.max(mpp.y) / model_mpp;
        if enlarged > MOST_ENLARGED && !stretch {
            return Err(format!(
                "the slide has {} x {} um/px ({}), the model sees {model_mpp} um/px: its pixels would be enlarged {enlarged:.2} \
                 times, expected at most {MOST_ENLARGED}. Scan or export it at {model_mpp} um/px or finer, use a bundle for \
                 this resolution, or give --stretch to see what comes out",
                mpp.x, mpp.y, mpp.source
            ));
        }
        Ok(Self {
            tile: (x.0, y.0),
            micrometres: (x.1, y.1),
            effective_mpp: (x.2, y.2),
            stretched: enlarged > MOST_ENLARGED,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(x: f64, y: f64, stretch: bool) -> Result<FieldOfView, String> {
        FieldOfView::new(224, 0.5, &Mpp { x, y, source: "--mpp".into() }, stretch)
    }

    #[test]
    fn finer_slides_are_taken_together() {
        let found = field(0.25, 0.2, false).unwrap();
        assert_eq!((found.tile, found.stretched), ((448, 560), false));
        assert_eq!((found.micrometres, found.effective_mpp), ((112.0, 112.0), (0.5, 0.5)));
    }

    #[test]
    fn a_tenth_is_honest_and_more_is_not() {
        let found = field(0.549, 0.5, false).unwrap();
        assert_eq!(found.tile, (204, 224));
        assert_eq!(found.effective_mpp, (0.549, 0.5), "no finer than the slide");
        let refused = field(0.5, 0.56, false).unwrap_err();
        assert!(refused.contains("enlarged 1.12 times") && refused.contains("--stretch"), "{refused}");
        let found = field(1.0, 1.0, true).unwrap();
        assert_eq!((found.tile, found.effective_mpp, found.stretched), ((112, 112), (1.0, 1.0), true));
    }
}
