//! What the components of a JPEG are.

/// The meaning of a JPEG's components, by the TIFF's PhotometricInterpretation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Components {
    /// YCbCr, which is converted.
    YCbCr,
    /// RGB, as Aperio writes it. Other readers take a JPEG without a marker for YCbCr.
    Rgb,
    /// One component: grey, or a plane of a planar file.
    Single,
}
