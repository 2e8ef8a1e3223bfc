//! The dyes, which absorb light.

/// The amount of each dye in each pixel of a rectangle.
pub(super) struct Stains {
    pub(super) haematoxylin: Vec<f32>,
    pub(super) eosin: Vec<f32>,
}
