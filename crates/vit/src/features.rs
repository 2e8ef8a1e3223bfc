//! Which kernels a processor runs: a fixed table of its features, so that two runs on one machine are the same.

use std::str::FromStr;

use coverslip_bundle::Precision;

use crate::kernels::Kernels;
#[cfg(target_arch = "aarch64")]
use crate::kernels::neon::Neon;
use crate::kernels::plain::Plain;
#[cfg(target_arch = "x86_64")]
use crate::kernels::{avx2::Avx2, avx512::Avx512, avx512_bf16::BFloat16};

/// A family of kernels.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Family {
    /// Simple loops and float64 sums: the oracle of the others, and far slower.
    Plain,
    /// AVX2 and FMA, in float32.
    Avx2,
    /// AVX-512 F, BW, DQ and VL, in float32.
    Avx512,
    /// AVX-512 with products of bfloat16, summed in float32.
    Avx512Bf16,
    /// NEON, in float32.
    Neon,
}

impl Family {
    /// The table, the best first.
    const TABLE: [Family; 4] = [Family::Avx512Bf16, Family::Avx512, Family::Avx2, Family::Neon];

    /// The best family for products of float32 or of half the width on this processor; `None` where the table has none.
    pub fn best(half: bool) -> Option<Family> {
        let wanted = |family: &Family| (family.precision() != Precision::Float32) == half;
        Self::TABLE.into_iter().filter(wanted).find(|family| family.runs_here() && family.is_worth_it())
    }

    /// The name in `runtime_info`, digests and receipts.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
            Self::Avx512Bf16 => "avx512-bf16",
            Self::Neon => "neon",
        }
    }

    /// The type of the model's products. Norms, softmax, the residual stream and the SAE are float32 in every family.
    pub fn precision(self) -> Precision {
        match self {
            Self::Avx512Bf16 => Precision::BFloat16,
            Self::Plain | Self::Avx2 | Self::Avx512 | Self::Neon => Precision::Float32,
        }
    }

    /// Whether this processor has the instructions.
    pub fn runs_here(self) -> bool {
        self.kernels().is_some()
    }

    /// Whether the family is quicker here than the one below it in the table.
    fn is_worth_it(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Bf16 => BFloat16::is_worth_it(),
            _ => true,
        }
    }

    /// The kernels of the model; `None` where this processor lacks the instructions.
    pub(crate) fn kernels(self) -> Option<Box<dyn Kernels>> {
        match self {
            Self::Plain => Some(Box::new(Plain::FLOAT32)),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => Avx2::float32().map(boxed),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => Avx512::float32().map(boxed),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Bf16 => BFloat16::detect().map(boxed),
            #[cfg(target_arch = "aarch64")]
            Self::Neon => Neon::float32().map(boxed),
            // Another architecture's.
            _ => None,
        }
    }

    /// The family of the SAE's products, which are float32.
    pub(crate) fn exact(self) -> Family {
        match self {
            Self::Avx512Bf16 => Self::Avx512,
            other => other,
        }
    }
}

impl FromStr for Family {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let named = |family: &Family| family.name() == text;
        Self::TABLE.into_iter().chain([Self::Plain]).find(named).ok_or_else(|| {
            let known: Vec<&str> = Self::TABLE.iter().map(|family| family.name()).collect();
            format!("expected plain, {}; found `{text}`", known.join(", "))
        })
    }
}

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
fn boxed(kernels: impl Kernels + 'static) -> Box<dyn Kernels> {
    Box::new(kernels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_gives_what_the_processor_has() {
        if let Some(family) = Family::best(false) {
            assert!(family.runs_here() && family.precision() == Precision::Float32 && family != Family::Plain);
        }
        if let Some(family) = Family::best(true) {
            assert!(family.runs_here() && family.precision() == Precision::BFloat16);
            assert!(family.exact().runs_here() && family.exact().precision() == Precision::Float32);
        }
    }
}
