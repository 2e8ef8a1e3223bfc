//! Stored tensors: safetensors files in memory, read with every offset checked and written in a deterministic order.
//! Float16 and bfloat16 convert to float32 exactly.

use std::collections::BTreeMap;
use std::ops::Range;

use coverslip_files::fence::fenced;
use safetensors::SafeTensorError;
use safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize};

use crate::budget::MAX_HEADER_BYTES;
use crate::error::{BundleError, BundleErrorKind, fail};

/// Element types that Coverslip's files use.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Element {
    /// IEEE binary32.
    F32,
    /// IEEE binary16.
    F16,
    /// bfloat16: read by the importers, never written.
    Bf16,
    /// IEEE binary64: read by the importers, never written.
    F64,
    /// Unsigned bytes (pixels).
    U8,
    /// 32-bit integers (indices, counts).
    I32,
    /// 64-bit integers: read by the importers, never written.
    I64,
}

impl Element {
    /// Bytes per element.
    pub fn size(self) -> usize {
        match self {
            Self::F64 | Self::I64 => 8,
            Self::F32 | Self::I32 => 4,
            Self::F16 | Self::Bf16 => 2,
            Self::U8 => 1,
        }
    }

    pub fn from_dtype(dtype: Dtype) -> Option<Self> {
        match dtype {
            Dtype::F32 => Some(Self::F32),
            Dtype::F16 => Some(Self::F16),
            Dtype::BF16 => Some(Self::Bf16),
            Dtype::F64 => Some(Self::F64),
            Dtype::U8 | Dtype::BOOL => Some(Self::U8),
            Dtype::I64 => Some(Self::I64),
            Dtype::I32 => Some(Self::I32),
            _ => None,
        }
    }

    pub fn dtype(self) -> Dtype {
        match self {
            Self::F32 => Dtype::F32,
            Self::F16 => Dtype::F16,
            Self::Bf16 => Dtype::BF16,
            Self::F64 => Dtype::F64,
            Self::I64 => Dtype::I64,
            Self::U8 => Dtype::U8,
            Self::I32 => Dtype::I32,
        }
    }
}

/// An owned tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// The element type.
    pub element: Element,
    /// The shape, row-major.
    pub shape: Vec<usize>,
    /// The elements, little-endian.
    pub bytes: Vec<u8>,
}

impl Tensor {
    /// A float32 tensor.
    pub fn f32(shape: &[usize], values: &[f32]) -> Self {
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        Self::new(Element::F32, shape, bytes)
    }

    /// A float16 tensor. Values are rounded to the nearest, ties to even; overflow becomes ±∞.
    pub fn f16(shape: &[usize], values: &[f32]) -> Self {
        let half = |v: &f32| f32_to_f16(*v).to_le_bytes();
        Self::new(Element::F16, shape, values.iter().flat_map(half).collect())
    }

    /// A tensor of 32-bit integers.
    pub fn i32(shape: &[usize], values: &[i32]) -> Self {
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        Self::new(Element::I32, shape, bytes)
    }

    /// A tensor of bytes.
    pub fn u8(shape: &[usize], values: &[u8]) -> Self {
        Self::new(Element::U8, shape, values.to_vec())
    }

    fn new(element: Element, shape: &[usize], bytes: Vec<u8>) -> Self {
        Self { element, shape: shape.to_vec(), bytes }
    }

    /// Borrows the tensor under a name for error messages.
    pub fn view<'a>(&'a self, name: &'a str) -> StoredTensor<'a> {
        StoredTensor { name, element: self.element, shape: &self.shape, bytes: &self.bytes }
    }

    /// Converts to another floating-point type, rounding to the nearest. `name` is for error messages.
    ///
    /// # Errors
    /// `NotFinite` if a value is beyond float16's range; `Invalid` for integers.
    pub fn to(&self, name: &str, element: Element) -> Result<Tensor, BundleError> {
        if self.element == element {
            return Ok(self.clone());
        }
        let values = self.view(name).to_f32()?;
        match element {
            Element::F32 => Ok(Self::f32(&self.shape, &values)),
            Element::F16 => {
                if let Some(value) = values.iter().find(|v| v.abs() >= 65520.0) {
                    fail!(NotFinite, "tensor `{name}` has the value {value}, which float16 cannot hold; store float32");
                }
                Ok(Self::f16(&self.shape, &values))
            }
            other => fail!(Invalid, "tensor `{name}` cannot be stored as {other:?}"),
        }
    }
}

/// Tensors by name, owned; serialised by [`to_safetensors`].
pub type TensorMap = BTreeMap<String, Tensor>;

/// Serialises `tensors` as a safetensors file. The order depends only on names and element types, so equal tensors give
/// equal digests.
///
/// # Errors
/// `Invalid` if a tensor's bytes do not fit its shape.
pub fn to_safetensors(tensors: &TensorMap) -> Result<Vec<u8>, BundleError> {
    let mut views = Vec::with_capacity(tensors.len());
    for (name, tensor) in tensors {
        match TensorView::new(tensor.element.dtype(), tensor.shape.clone(), &tensor.bytes) {
            Ok(view) => views.push((name, view)),
            Err(error) => fail!(Invalid, "tensor `{name}` cannot be written: {error}"),
        }
    }
    serialize(views, None)
        .map_err(|error| BundleError::new(BundleErrorKind::Invalid, format!("the tensors cannot be written: {error}")))
}

/// A tensor's place in its file.
#[derive(Clone, Debug)]
struct Entry {
    element: Element,
    shape: Vec<usize>,
    range: Range<usize>,
}

/// A safetensors file in memory. Parsing checks offsets and sizes; a tensor's values are copied only on request.
#[derive(Clone, Debug)]
pub struct TensorFile {
    bytes: Vec<u8>,
    entries: BTreeMap<String, Entry>,
}

impl TensorFile {
    /// Parses `bytes` as a safetensors file.
    ///
    /// # Errors
    /// `Truncated`, `Invalid`, or `Unsupported` for element types other than [`Element`]'s.
    pub fn parse(bytes: Vec<u8>) -> Result<Self, BundleError> {
        let entries = read_entries(&bytes)?;
        Ok(Self { bytes, entries })
    }

    /// The tensors' names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// The file's bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The file's bytes, without a copy.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// The tensor `name`, if the file has it.
    pub fn get(&self, name: &str) -> Option<StoredTensor<'_>> {
        let (name, entry) = self.entries.get_key_value(name)?;
        Some(StoredTensor {
            name,
            element: entry.element,
            shape: &entry.shape,
            bytes: &self.bytes[entry.range.clone()],
        })
    }

    /// The tensor `name`, which must have exactly `shape`.
    ///
    /// # Errors
    /// `Missing` or `Invalid`.
    pub fn expect(&self, name: &str, shape: &[usize]) -> Result<StoredTensor<'_>, BundleError> {
        let Some(stored) = self.get(name) else {
            fail!(Missing, "tensor `{name}` {shape:?} is missing");
        };
        if stored.shape != shape {
            fail!(Invalid, "tensor `{name}` has shape {:?}, expected {shape:?}", stored.shape);
        }
        Ok(stored)
    }
}

fn read_entries(bytes: &[u8]) -> Result<BTreeMap<String, Entry>, BundleError> {
    if let Some(length) = bytes.first_chunk().map(|length| u64::from_le_bytes(*length))
        && length > MAX_HEADER_BYTES
    {
        fail!(
            Invalid,
            "found a header of {length} bytes, at most {MAX_HEADER_BYTES}: expected a safetensors file; export it again"
        );
    }
    let read = fenced(|| SafeTensors::read_metadata(bytes));
    let (header, metadata) =
        read.map_err(|what| BundleError::new(BundleErrorKind::Invalid, what))?.map_err(|error| {
            let kind = match error {
                SafeTensorError::HeaderTooSmall
                | SafeTensorError::InvalidHeaderLength
                | SafeTensorError::MetadataIncompleteBuffer => BundleErrorKind::Truncated,
                _ => BundleErrorKind::Invalid,
            };
            BundleError::new(kind, format!("expected a complete safetensors file ({error}); copy or export it again"))
        })?;
    let data = header + 8;
    let mut entries = BTreeMap::new();
    for (name, info) in metadata.tensors() {
        let Some(element) = Element::from_dtype(info.dtype) else {
            fail!(
                Unsupported,
                "tensor `{name}` is {:?}: not supported in this version; expected F32, F16 or BF16 weights: convert it",
                info.dtype
            );
        };
        let (start, end) = info.data_offsets;
        let entry = Entry { element, shape: info.shape.clone(), range: data + start..data + end };
        entries.insert(name, entry);
    }
    Ok(entries)
}

/// One tensor of a [`TensorFile`], borrowed.
#[derive(Clone, Copy, Debug)]
pub struct StoredTensor<'a> {
    /// The name, for error messages.
    pub name: &'a str,
    /// The element type.
    pub element: Element,
    /// The shape, row-major.
    pub shape: &'a [usize],
    /// The elements, little-endian.
    pub bytes: &'a [u8],
}

impl StoredTensor<'_> {
    /// The values as float32. Float16 and bfloat16 convert exactly; float64 is rounded to the nearest.
    ///
    /// # Errors
    /// `Invalid` for integer tensors, `OutOfMemory` when memory is short.
    pub fn to_f32(&self) -> Result<Vec<f32>, BundleError> {
        let mut values = self.reserve()?;
        match self.element {
            Element::F32 => values.extend(quads(self.bytes).map(f32::from_le_bytes)),
            Element::F16 => values.extend(pairs(self.bytes).map(f16_to_f32)),
            Element::Bf16 => values.extend(pairs(self.bytes).map(bf16_to_f32)),
            Element::F64 => values.extend(octets(self.bytes).map(|b| f64::from_le_bytes(b) as f32)),
            Element::U8 | Element::I32 | Element::I64 => return Err(self.wrong_type("floating point")),
        }
        Ok(values)
    }

    /// The values of an I32 tensor.
    ///
    /// # Errors
    /// `Invalid` for other element types, `OutOfMemory` when memory is short.
    pub fn to_i32(&self) -> Result<Vec<i32>, BundleError> {
        if self.element != Element::I32 {
            return Err(self.wrong_type("I32"));
        }
        let mut values = self.reserve()?;
        values.extend(quads(self.bytes).map(i32::from_le_bytes));
        Ok(values)
    }

    /// The values of a U8 tensor.
    ///
    /// # Errors
    /// `Invalid` for other element types, `OutOfMemory` when memory is short.
    pub fn to_u8(&self) -> Result<Vec<u8>, BundleError> {
        if self.element != Element::U8 {
            return Err(self.wrong_type("U8"));
        }
        let mut values = self.reserve()?;
        values.extend_from_slice(self.bytes);
        Ok(values)
    }

    /// Refuses NaN and infinity without converting the tensor.
    ///
    /// # Errors
    /// `NotFinite` with the position of the first; `Invalid` for integer tensors.
    pub fn check_finite(&self) -> Result<(), BundleError> {
        // Infinity and NaN are the patterns whose exponent bits are all set.
        let first = match self.element {
            Element::F32 => quads(self.bytes).position(|b| u32::from_le_bytes(b) & 0x7f80_0000 == 0x7f80_0000),
            Element::F16 => pairs(self.bytes).position(|b| b & 0x7c00 == 0x7c00),
            Element::Bf16 => pairs(self.bytes).position(|b| b & 0x7f80 == 0x7f80),
            Element::F64 => octets(self.bytes).position(|b| !f64::from_le_bytes(b).is_finite()),
            Element::U8 | Element::I32 | Element::I64 => return Err(self.wrong_type("floating point")),
        };
        match first {
            None => Ok(()),
            Some(at) => fail!(
                NotFinite,
                "tensor `{}` is NaN or infinite at element {at}, expected finite values; export the \
                 model again",
                self.name
            ),
        }
    }

    fn wrong_type(&self, expected: &str) -> BundleError {
        BundleError::new(
            BundleErrorKind::Invalid,
            format!("tensor `{}` is {:?}, expected {expected}", self.name, self.element),
        )
    }

    fn reserve<T>(&self) -> Result<Vec<T>, BundleError> {
        let count = self.bytes.len() / self.element.size();
        let mut values = Vec::new();
        if values.try_reserve_exact(count).is_err() {
            fail!(OutOfMemory, "no memory for the {count} values of tensor `{}`", self.name);
        }
        Ok(values)
    }
}

fn octets(bytes: &[u8]) -> impl Iterator<Item = [u8; 8]> {
    bytes.as_chunks::<8>().0.iter().copied()
}

fn quads(bytes: &[u8]) -> impl Iterator<Item = [u8; 4]> {
    bytes.as_chunks::<4>().0.iter().copied()
}

fn pairs(bytes: &[u8]) -> impl Iterator<Item = u16> {
    let pairs = bytes.as_chunks::<2>().0.iter();
    pairs.map(|pair| u16::from_le_bytes(*pair))
}

/// Exact.
pub fn bf16_to_f32(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

/// Rounds to the nearest, ties to even; values beyond the range become ±∞.
pub fn f32_to_bf16(value: f32) -> u16 {
    let bits = value.to_bits();
    if value.is_nan() {
        return (bits >> 16) as u16 | 0x40;
    }
    ((bits + 0x7fff + (bits >> 16 & 1)) >> 16) as u16
}

/// IEEE binary16 to binary32, exact for every bit pattern but a NaN's payload.
pub fn f16_to_f32(bits: u16) -> f32 {
    let sign = u32::from(bits & 0x8000) << 16;
    let magnitude = u32::from(bits & 0x7fff);
    match bits & 0x7c00 {
        0x7c00 => f32::from_bits(sign | 0x7f80_0000 | ((magnitude & 0x3ff) << 13)),
        // Zero and subnormals: magnitude · 2⁻²⁴, exact in binary32.
        0 => {
            let value = magnitude as f32 * (1.0 / 16_777_216.0);
            f32::from_bits(sign | value.to_bits())
        }
        _ => f32::from_bits(sign | ((magnitude << 13) + (112 << 23))),
    }
}

/// Rounds binary32 to the nearest binary16, ties to even; ±∞ beyond 65504 plus half a step.
pub fn f32_to_f16(value: f32) -> u16 {
    let bits = value.to_bits();
    let sign = ((bits >> 16) & 0x8000) as u16;
    let magnitude = bits & 0x7fff_ffff;
    let half = if magnitude > 0x7f80_0000 {
        0x7e00
    } else if magnitude >= 0x4780_0000 {
        0x7c00
    } else if magnitude < 0x3880_0000 {
        // Below 2⁻¹⁴ the step is 2⁻²⁴; adding 0.5 (whose step is 2⁻²⁴ too) lets the FPU round to it.
        let rounded = f32::from_bits(magnitude) + 0.5;
        (rounded.to_bits() - 0x3f00_0000) as u16
    } else {
        let odd = (magnitude >> 13) & 1;
        ((magnitude - (112 << 23) + 0xfff + odd) >> 13) as u16
    };
    sign | half
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_float16_survives_a_round_trip() {
        for bits in 0..=u16::MAX {
            let value = f16_to_f32(bits);
            if value.is_nan() {
                assert!(bits & 0x7c00 == 0x7c00 && bits & 0x3ff != 0);
            } else {
                assert_eq!(f32_to_f16(value), bits, "{value}");
            }
        }
    }

    #[test]
    fn rounding_is_to_nearest_even() {
        let known = [
            (1.0, 0x3c00),
            (1.0 + 1.0 / 2048.0, 0x3c00),
            (1.0 + 3.0 / 2048.0, 0x3c02),
            (65504.0, 0x7bff),
            (65519.0, 0x7bff),
            (65520.0, 0x7c00),
            (-0.1, 0xae66),
            (5.960_464_5e-8, 0x0001),
            (2.9e-8, 0x0000),
        ];
        for (value, bits) in known {
            assert_eq!(f32_to_f16(value), bits, "{value}");
        }
        assert_eq!(f16_to_f32(0x3555), 0.333_251_95);
    }

    #[test]
    fn files_round_trip_and_refuse_cuts() {
        let tensors = TensorMap::from([
            ("b".to_owned(), Tensor::f32(&[2, 2], &[1.0, -2.0, 3.5, 0.0])),
            ("a".to_owned(), Tensor::f16(&[3], &[0.5, 2.0, -1.0])),
            ("n".to_owned(), Tensor::i32(&[1], &[-7])),
            ("p".to_owned(), Tensor::u8(&[2], &[0, 255])),
        ]);
        let bytes = to_safetensors(&tensors).unwrap();
        let file = TensorFile::parse(bytes.clone()).unwrap();
        assert_eq!(file.names().collect::<Vec<_>>(), ["a", "b", "n", "p"]);
        let b = file.expect("b", &[2, 2]).unwrap();
        assert_eq!(b.to_f32().unwrap(), [1.0, -2.0, 3.5, 0.0]);
        assert_eq!(file.get("a").unwrap().to_f32().unwrap(), [0.5, 2.0, -1.0]);
        assert_eq!(file.get("n").unwrap().to_i32().unwrap(), [-7]);
        assert_eq!(file.get("p").unwrap().to_u8().unwrap(), [0, 255]);
        assert!(file.get("p").unwrap().to_f32().is_err());
        for cut in [0, 7, 30, bytes.len() - 1] {
            let error = TensorFile::parse(bytes[..cut].to_vec()).unwrap_err();
            assert_eq!(error.kind(), BundleErrorKind::Truncated, "{cut}");
        }
    }
}
