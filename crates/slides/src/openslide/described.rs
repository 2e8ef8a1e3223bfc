//! What OpenSlide says of a slide, as one process says it to another.

use serde::{Deserialize, Serialize};

use super::sys::Slide;

/// What OpenSlide says of a slide, before it is checked.
#[derive(Serialize, Deserialize)]
pub(super) struct Described {
    pub(super) levels: Vec<(i64, i64)>,
    pub(super) vendor: Option<String>,
    pub(super) mpp: [Option<String>; 2],
    pub(super) associated: Vec<(String, (i64, i64))>,
}

impl Described {
    pub(super) fn of(slide: &Slide) -> Result<Described, String> {
        Ok(Described {
            levels: slide.levels()?,
            vendor: slide.property(c"openslide.vendor"),
            mpp: [c"openslide.mpp-x", c"openslide.mpp-y"].map(|name| slide.property(name)),
            associated: slide.associated()?,
        })
    }
}
