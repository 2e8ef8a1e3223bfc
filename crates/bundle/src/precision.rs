//! The precision of the model's matrix products.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{BundleError, fail};
use crate::onnx::DataType;
use crate::tensors::{bf16_to_f32, f16_to_f32, f32_to_bf16, f32_to_f16};

/// The type of the weights and operands of the model's matrix products in a composed graph. Norms, softmax, the
/// residual stream, pooling and, except with [`Precision::Float16Sae`], the SAE are float32 in every precision: see
/// `docs/reference/bundle-format.md`.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Precision {
    /// IEEE binary32.
    #[default]
    Float32,
    /// IEEE binary16: 11 significant bits, at most 65,504.
    Float16,
    /// As [`Precision::Float16`], for the SAE's products too. It is for GPUs on which an engine has no float32 products
    /// (TensorRT-RTX on Turing). All other operations stay float32.
    Float16Sae,
    /// 8 significant bits, float32's range.
    BFloat16,
}

impl Precision {
    /// Bytes per value.
    pub fn bytes(self) -> usize {
        match self {
            Self::Float32 => 4,
            Self::Float16 | Self::Float16Sae | Self::BFloat16 => 2,
        }
    }

    /// The precision to use instead on a GPU for which an engine has no float32 products.
    pub fn without_float32_products(self) -> Self {
        if self == Self::Float16 { Self::Float16Sae } else { self }
    }

    /// The type in ONNX.
    pub fn data_type(self) -> DataType {
        match self {
            Self::Float32 => DataType::Float,
            Self::Float16 | Self::Float16Sae => DataType::Float16,
            Self::BFloat16 => DataType::BFloat16,
        }
    }

    /// Rounds to the nearest value of this type, ties to even; ±∞ beyond its range.
    pub(crate) fn round(self, value: f32) -> f32 {
        match self {
            Self::Float32 => value,
            Self::Float16 | Self::Float16Sae => f16_to_f32(f32_to_f16(value)),
            Self::BFloat16 => bf16_to_f32(f32_to_bf16(value)),
        }
    }

    /// Rounds values to this type and returns their bytes, little-endian. `name` is for the error's message.
    ///
    /// # Errors
    /// `NotFinite` if a finite value is beyond the type's range.
    pub(crate) fn encode(self, name: &str, values: &[f32]) -> Result<Vec<u8>, BundleError> {
        if let Some(value) = values.iter().find(|value| value.is_finite() && !self.round(**value).is_finite()) {
            fail!(NotFinite, "`{name}` has the value {value}, which {self} cannot hold; use bfloat16 or float32");
        }
        Ok(match self {
            Self::Float32 => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
            Self::Float16 | Self::Float16Sae => values.iter().flat_map(|v| f32_to_f16(*v).to_le_bytes()).collect(),
            Self::BFloat16 => values.iter().flat_map(|v| f32_to_bf16(*v).to_le_bytes()).collect(),
        })
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Float32 => "float32",
            Self::Float16 => "float16",
            Self::Float16Sae => "float16-sae",
            Self::BFloat16 => "bfloat16",
        })
    }
}

impl FromStr for Precision {
    type Err = BundleError;

    fn from_str(text: &str) -> Result<Self, BundleError> {
        Ok(match text {
            "float32" | "fp32" => Self::Float32,
            "float16" | "fp16" => Self::Float16,
            "float16-sae" | "fp16-sae" => Self::Float16Sae,
            "bfloat16" | "bf16" => Self::BFloat16,
            other => fail!(Unsupported, "`{other}` is not a precision; expected fp32, fp16, bf16 or fp16-sae"),
        })
    }
}

impl Serialize for Precision {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Precision {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::BundleErrorKind;

    #[test]
    fn values_are_rounded_to_the_nearest() {
        // By hand: bfloat16 has 8 significant bits, so its step at 1 is 2⁻⁷ and a tie goes to the even one.
        let known = [
            (1.0 + 1.0 / 256.0, 1.0),
            (1.0 + 3.0 / 256.0, 1.0 + 4.0 / 256.0),
            (1.0 + 1.01 / 256.0, 1.0 + 2.0 / 256.0),
            (-255.0, -255.0),
            (65504.0, 65536.0),
        ];
        for (value, nearest) in known {
            assert_eq!(Precision::BFloat16.round(value), nearest, "{value}");
        }
        assert_eq!(Precision::Float16.round(2049.0), 2048.0);
        assert_eq!(Precision::Float32.round(0.1), 0.1);
        assert_eq!(Precision::BFloat16.encode("x", &[1.0, -2.0]).unwrap(), [0x80, 0x3f, 0x00, 0xc0]);
        assert_eq!(Precision::Float16.encode("x", &[1.0]).unwrap(), [0x00, 0x3c]);
    }

    #[test]
    fn values_beyond_the_types_range_are_refused() {
        let error = Precision::Float16.encode("block3.mlp.fc1.weight", &[1.0, -65520.0]).unwrap_err();
        assert_eq!(error.kind(), BundleErrorKind::NotFinite);
        for part in ["block3.mlp.fc1.weight", "-65520", "bfloat16"] {
            assert!(error.to_string().contains(part), "{error}");
        }
        assert!(Precision::BFloat16.encode("x", &[65520.0]).is_ok());
        assert!(Precision::BFloat16.encode("x", &[f32::MAX]).is_err(), "rounds up to infinity");
        // A bundle's weights are finite; an imported graph's mask may be infinite and stays so.
        assert!(Precision::Float16.encode("mask", &[f32::NEG_INFINITY]).is_ok());
    }

    #[test]
    fn names_round_trip() {
        for precision in [Precision::Float32, Precision::Float16, Precision::Float16Sae, Precision::BFloat16] {
            assert_eq!(precision.to_string().parse::<Precision>().unwrap(), precision);
        }
        assert_eq!("fp16".parse::<Precision>().unwrap(), Precision::Float16);
        assert!("int8".parse::<Precision>().unwrap_err().to_string().contains("fp16"));
    }
}
