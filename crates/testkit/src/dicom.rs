//! Whole-slide images in DICOM, as OpenSlide reads them: explicit lengths, little-endian, uncompressed tiles.

use std::fs;
use std::path::Path;

/// Width and height of a tile, px.
const SIDE: u32 = 32;
/// VL Whole Slide Microscopy Image Storage.
const CLASS: &str = "1.2.840.10008.5.1.4.1.1.77.1.6";
/// Explicit VR Little Endian.
const SYNTAX: &str = "1.2.840.10008.1.2.1";

/// An image of a slide; the images of a folder are one slide.
pub struct DicomImage<'a> {
    /// `VOLUME` for the slide itself; `LABEL` or `OVERVIEW`, which are one tile of 32 px.
    pub kind: &'a str,
    /// Width and height, px: whole tiles of 32.
    pub size: (u32, u32),
    /// Tells the slide's images apart.
    pub number: u32,
    /// Stands in every attribute that names or describes a person, a specimen or a place, private ones among them.
    pub planted: &'a str,
}

/// Writes an image of 0.5 µm/px with noise in the colours of a stain.
pub fn draw_dicom(path: &Path, image: &DicomImage<'_>) {
    let instance = format!("1.2.826.0.1.3680043.10.1427.{}", image.number);
    let meta = [
        binary(0x0002_0001, b"OB", &[0, 1]),
        text(0x0002_0002, b"UI", CLASS),
        text(0x0002_0003, b"UI", &instance),
        text(0x0002_0010, b"UI", SYNTAX),
        text(0x0002_0012, b"UI", "1.2.826.0.1.3680043.10.1427"),
    ]
    .concat();
    let length = element(0x0002_0000, b"UL", &(meta.len() as u32).to_le_bytes());
    let head = [&[0; 128][..], b"DICM", &length, &meta].concat();
    fs::write(path, [head, described(image, &instance), shaped(image), pixels(image.size)].concat())
        .expect("a place for the DICOM file");
}

/// What says what the image is and of whom, up to group 0020.
fn described(image: &DicomImage<'_>, instance: &str) -> Vec<u8> {
    let planted = |tag, kind| text(tag, kind, image.planted);
    [
        text(0x0008_0008, b"CS", &format!("ORIGINAL\\PRIMARY\\{}\\NONE", image.kind)),
        text(0x0008_0016, b"UI", CLASS),
        text(0x0008_0018, b"UI", instance),
        planted(0x0008_0050, b"SH"), // AccessionNumber
        text(0x0008_0060, b"CS", "SM"),
        planted(0x0008_0080, b"LO"), // InstitutionName
        planted(0x0008_0090, b"PN"), // ReferringPhysicianName
        planted(0x0008_1010, b"SH"), // StationName
        planted(0x0008_103e, b"LO"), // SeriesDescription
        planted(0x0010_0010, b"PN"), // PatientName
        planted(0x0010_0020, b"LO"), // PatientID
        planted(0x0010_4000, b"LT"), // PatientComments
        planted(0x0011_0010, b"LO"), // a private creator
        planted(0x0011_1001, b"LO"), // a private attribute
        text(0x0020_000d, b"UI", "1.2.826.0.1.3680043.10.1427.1"),
        text(0x0020_000e, b"UI", "1.2.826.0.1.3680043.10.1427.2"),
        planted(0x0020_4000, b"LT"), // ImageComments
        text(0x0020_9311, b"CS", "TILED_FULL"),
    ]
    .concat()
}

/// Sizes, and what is planted behind them in the order of the tags.
fn shaped(image: &DicomImage<'_>) -> Vec<u8> {
    let planted = |tag, kind| text(tag, kind, image.planted);
    let short = |tag, value: u32| element(tag, b"US", &(value as u16).to_le_bytes());
    let long = |tag, value: u32| element(tag, b"UL", &value.to_le_bytes());
    let (width, height) = image.size;
    let frames = width / SIDE * (height / SIDE);
    let measures = [text(0x0018_0050, b"DS", "0.001"), text(0x0028_0030, b"DS", "0.0005\\0.0005")].concat();
    [
        short(0x0028_0002, 3),
        text(0x0028_0004, b"CS", "RGB"),
        short(0x0028_0006, 0),
        text(0x0028_0008, b"IS", &frames.to_string()),
        short(0x0028_0010, SIDE),
        short(0x0028_0011, SIDE),
        short(0x0028_0100, 8),
        short(0x0028_0101, 8),
        short(0x0028_0102, 7),
        short(0x0028_0103, 0),
        planted(0x0040_0512, b"LO"),                              // ContainerIdentifier
        sequence(0x0040_0560, &planted(0x0040_0551, b"LO")),      // SpecimenIdentifier
        long(0x0048_0006, width),                                 // TotalPixelMatrixColumns
        long(0x0048_0007, height),                                // TotalPixelMatrixRows
        planted(0x2200_0002, b"UT"),                              // LabelText
        planted(0x2200_0005, b"LT"),                              // BarcodeValue
        sequence(0x5200_9229, &sequence(0x0028_9110, &measures)), // the µm/px, shared by all tiles
    ]
    .concat()
}

fn pixels((width, height): (u32, u32)) -> Vec<u8> {
    let mut noise = 1_u32;
    let mut bytes = Vec::with_capacity((width * height * 3) as usize);
    for _ in 0..width * height {
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let grain = (noise >> 26) as u8;
        bytes.extend([200 - grain, 90 + grain, 160 - grain]);
    }
    binary(0x7fe0_0010, b"OB", &bytes)
}

/// A text, padded to an even length as its kind wants.
fn text(tag: u32, kind: &[u8; 2], text: &str) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    if bytes.len() % 2 == 1 {
        bytes.push(if kind == b"UI" { 0 } else { b' ' });
    }
    if kind == b"UT" { binary(tag, kind, &bytes) } else { element(tag, kind, &bytes) }
}

fn sequence(tag: u32, item: &[u8]) -> Vec<u8> {
    let item = [&place(0xfffe_e000)[..], &(item.len() as u32).to_le_bytes(), item].concat();
    binary(tag, b"SQ", &item)
}

/// An element whose length has two bytes.
fn element(tag: u32, kind: &[u8; 2], bytes: &[u8]) -> Vec<u8> {
    [&place(tag)[..], kind, &(bytes.len() as u16).to_le_bytes(), bytes].concat()
}

/// An element whose length has four bytes.
fn binary(tag: u32, kind: &[u8; 2], bytes: &[u8]) -> Vec<u8> {
    [&place(tag)[..], kind, &[0; 2], &(bytes.len() as u32).to_le_bytes(), bytes].concat()
}

fn place(tag: u32) -> [u8; 4] {
    let ([a, b], [c, d]) = (((tag >> 16) as u16).to_le_bytes(), (tag as u16).to_le_bytes());
    [a, b, c, d]
}
