//! What absorbs light.

/// How much of each dye lies in each pixel of a rectangle.
pub(super) struct Stains {
    pub(super) haematoxylin: Vec<f32>,
    pub(super) eosin: Vec<f32>,
}
