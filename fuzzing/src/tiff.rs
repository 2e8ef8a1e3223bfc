//! TIFFs for seeds and around texts: one image, its tags as given.

/// A tag's value.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Short(Vec<u16>),
    Long(Vec<u32>),
    Text(Vec<u8>),
    /// Numerators and denominators.
    Rational([u32; 2]),
    Bytes(Vec<u8>),
}

impl Value {
    /// TIFF's type, the number of values and their bytes.
    fn stored(&self) -> (u16, u32, Vec<u8>) {
        match self {
            Self::Bytes(bytes) => (7, bytes.len() as u32, bytes.clone()),
            Self::Text(bytes) => (2, bytes.len() as u32 + 1, [bytes.as_slice(), &[0]].concat()),
            Self::Short(values) => (3, values.len() as u32, values.iter().flat_map(|v| v.to_le_bytes()).collect()),
            Self::Long(values) => (4, values.len() as u32, values.iter().flat_map(|v| v.to_le_bytes()).collect()),
            Self::Rational(parts) => (5, 1, parts.iter().flat_map(|v| v.to_le_bytes()).collect()),
        }
    }
}

/// Tag numbers.
pub(crate) const DESCRIPTION: u16 = 270;
pub(crate) const X_RESOLUTION: u16 = 282;
pub(crate) const Y_RESOLUTION: u16 = 283;
pub(crate) const RESOLUTION_UNIT: u16 = 296;

/// The layout of a written image.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Form {
    /// TIFF's Compression and PhotometricInterpretation.
    pub(crate) compression: u16,
    pub(crate) photometric: u16,
    /// Whether `chunk` is the side of square tiles; else the number of rows of a strip.
    pub(crate) tiled: bool,
    pub(crate) chunk: u32,
}

/// An image of `side` px whose chunks are `chunks`, with `more` tags.
pub(crate) fn image(side: u32, form: Form, chunks: &[Vec<u8>], more: &[(u16, Value)]) -> Vec<u8> {
    let mut bytes = b"II\x2a\0\0\0\0\0".to_vec();
    let (mut offsets, mut lengths) = (Vec::new(), Vec::new());
    for chunk in chunks {
        offsets.push(bytes.len() as u32);
        lengths.push(chunk.len() as u32);
        bytes.extend(chunk);
    }
    let mut tags = vec![
        (256, Value::Long(vec![side])),
        (257, Value::Long(vec![side])),
        (258, Value::Short(vec![8; 3])),
        (259, Value::Short(vec![form.compression])),
        (262, Value::Short(vec![form.photometric])),
        (277, Value::Short(vec![3])),
        (284, Value::Short(vec![1])),
    ];
    if form.tiled {
        tags.extend([(322, Value::Long(vec![form.chunk])), (323, Value::Long(vec![form.chunk]))]);
        tags.extend([(324, Value::Long(offsets)), (325, Value::Long(lengths))]);
    } else {
        tags.extend([(273, Value::Long(offsets)), (278, Value::Long(vec![form.chunk])), (279, Value::Long(lengths))]);
    }
    tags.extend(more.iter().cloned());
    tags.sort_by_key(|(tag, _)| *tag);
    // Values that do not fit into a directory's entry stand before the directory.
    let mut entries = (tags.len() as u16).to_le_bytes().to_vec();
    for (tag, value) in tags {
        let (kind, count, mut stored) = value.stored();
        if stored.len() > 4 {
            let place = bytes.len() as u32;
            bytes.extend(stored);
            stored = place.to_le_bytes().to_vec();
        }
        stored.resize(4, 0);
        entries.extend([&tag.to_le_bytes()[..], &kind.to_le_bytes(), &count.to_le_bytes(), &stored].concat());
    }
    let place = (bytes.len() as u32).to_le_bytes();
    bytes[4..8].copy_from_slice(&place);
    bytes.extend(entries);
    bytes.extend([0; 4]);
    bytes
}
