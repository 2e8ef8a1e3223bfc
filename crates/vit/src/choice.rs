//! What runs a model: a family of kernels, and for a mix the one that multiplies its layers in int8.

use std::fmt;
use std::str::FromStr;

use crate::check;
use crate::features::Family;
use crate::kernels::Int8Kernels;
use crate::kernels::plain::Plain;
use crate::kernels::plain_int8::PlainInt8;
#[cfg(target_arch = "x86_64")]
use crate::kernels::{
    avx_vnni::Vnni256, avx2::Avx2, avx512::Avx512, avx512_bf16::BFloat16, avx512_fp16::Float16, avx512_vnni::Vnni512,
};
#[cfg(target_arch = "aarch64")]
use crate::kernels::{neon::Neon, neon_dot::NeonDot, neon_fp16::NeonFp16};
use crate::panels::{Layout, Word};

/// A family of products of int8, with int32 sums.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Int8Family {
    /// Simple loops: the oracle of the others.
    Plain,
    /// AVX-VNNI, beside AVX2.
    AvxVnni,
    /// AVX512-VNNI, beside AVX-512.
    Avx512Vnni,
    /// NEON with FEAT_DotProd.
    NeonDot,
}

impl Int8Family {
    /// The table, the best first.
    pub(crate) const TABLE: [Int8Family; 3] = [Self::Avx512Vnni, Self::AvxVnni, Self::NeonDot];

    /// The name in `runtime_info`, digests and receipts.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain-int8",
            Self::AvxVnni => "avx-vnni",
            Self::Avx512Vnni => "avx512-vnni",
            Self::NeonDot => "neon-dotprod",
        }
    }

    /// The kernels beside a family of floats; `None` where this processor lacks the instructions, or the two have not
    /// the same vectors.
    pub(crate) fn kernels(self, floats: Family) -> Option<Box<dyn Int8Kernels>> {
        match (self, floats) {
            (Self::Plain, _) => {
                let floats = Plain(floats.kernels()?.layout());
                Some(Box::new(PlainInt8 { layout: Layout { word: Word::Int8, lines: 1 }, floats }))
            }
            #[cfg(target_arch = "x86_64")]
            (Self::AvxVnni, Family::Avx2) => Some(Box::new((Vnni256::detect()?, Avx2::float32()?))),
            #[cfg(target_arch = "x86_64")]
            (Self::Avx512Vnni, Family::Avx512) => Some(Box::new((Vnni512::detect()?, Avx512::float32()?))),
            #[cfg(target_arch = "x86_64")]
            (Self::Avx512Vnni, Family::Avx512Bf16) => Some(Box::new((Vnni512::detect()?, BFloat16::detect()?))),
            #[cfg(target_arch = "x86_64")]
            (Self::Avx512Vnni, Family::Avx512Fp16) => Some(Box::new((Vnni512::detect()?, Float16::detect()?))),
            #[cfg(target_arch = "aarch64")]
            (Self::NeonDot, Family::Neon) => Some(Box::new((NeonDot::detect()?, Neon::float32()?))),
            #[cfg(target_arch = "aarch64")]
            (Self::NeonDot, Family::NeonFp16) => Some(Box::new((NeonDot::detect()?, NeonFp16::detect()?))),
            _ => None,
        }
    }
}

/// The kernels that run a model.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Choice {
    /// The products of floats.
    pub floats: Family,
    /// The products of int8; `None`: the model has none.
    pub int8: Option<Int8Family>,
}

impl Choice {
    /// The table's for products of float32, or of half the width; `None` where it has none for this processor.
    pub fn floats(half: bool) -> Option<Choice> {
        Family::best(half).map(Choice::from)
    }

    /// The table's for a mix with int8, the other layers in what is quickest.
    pub fn int8() -> Option<Choice> {
        let floats = || [Family::best(true), Family::best(false), Some(Family::Avx2)].into_iter().flatten();
        let beside = |int8| floats().map(move |floats| Choice { floats, int8: Some(int8) });
        Int8Family::TABLE.into_iter().flat_map(beside).find(|choice| choice.is_sound())
    }

    /// All that this processor has the instructions for, but for the plain kernels: floats, then mixes with int8.
    fn all() -> impl Iterator<Item = Choice> {
        let floats = Family::TABLE;
        let mixes =
            Int8Family::TABLE.into_iter().flat_map(move |int8| floats.map(|f| Choice { floats: f, int8: Some(int8) }));
        floats.map(Choice::from).into_iter().chain(mixes).filter(|choice| choice.runs_here())
    }

    /// All that this processor can run a model with, but for the plain kernels: floats, then mixes with int8.
    pub fn here() -> Vec<Choice> {
        Self::all().filter(|choice| choice.fault().is_none()).collect()
    }

    /// What this processor has the instructions for, and computes wrongly with: a sentence for each.
    pub fn faults() -> Vec<String> {
        let all = Self::all().filter(|choice| choice.int8.is_none() || choice.floats.fault().is_none());
        all.filter_map(Choice::fault).map(|fault| format!("{fault}; they are not used")).collect()
    }

    /// What is computed otherwise than the plain kernels do on this processor; `None`: nothing, or it does not run.
    pub fn fault(self) -> Option<String> {
        let of_int8 =
            |int8: Int8Family| check::int8_fault(&*int8.kernels(self.floats)?, self.floats.kernels()?.layout());
        let fault = self.floats.fault().or_else(|| of_int8(self.int8?))?;
        Some(format!("the kernels {self} compute wrongly on this processor: {fault}"))
    }

    fn is_sound(self) -> bool {
        self.runs_here() && self.fault().is_none()
    }

    /// Whether this processor has the instructions.
    pub fn runs_here(self) -> bool {
        self.floats.runs_here() && self.int8.is_none_or(|int8| int8.kernels(self.floats).is_some())
    }

    /// The same with the other layers in float32.
    pub(crate) fn exact(self) -> Choice {
        Choice { floats: self.floats.exact(), ..self }
    }
}

impl From<Family> for Choice {
    fn from(floats: Family) -> Choice {
        Choice { floats, int8: None }
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.int8 {
            Some(int8) => write!(f, "{} {}", int8.name(), self.floats.name()),
            None => f.write_str(self.floats.name()),
        }
    }
}

/// As it is displayed: a family of floats, or one of int8 and one of floats.
impl FromStr for Choice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some((int8, floats)) = text.split_once(' ') else { return text.parse().map(Family::into) };
        let named = |family: &Int8Family| family.name() == int8;
        let found = Int8Family::TABLE.into_iter().chain([Int8Family::Plain]).find(named).ok_or_else(|| {
            let known: Vec<&str> = Int8Family::TABLE.iter().map(|family| family.name()).collect();
            format!("expected plain-int8, {} before the blank; found `{int8}`", known.join(", "))
        })?;
        Ok(Choice { floats: floats.parse()?, int8: Some(found) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_is_read_as_it_is_written() {
        let int8s = Int8Family::TABLE.into_iter().chain([Int8Family::Plain]).map(Some).chain([None]);
        for floats in Family::TABLE.into_iter().chain([Family::Plain]) {
            for int8 in int8s.clone() {
                let choice = Choice { floats, int8 };
                assert_eq!(choice.to_string().parse(), Ok(choice));
            }
        }
        for text in ["", "avx", "avx512-vnni", "avx512-vnni ", "avx2 avx512"] {
            assert!(text.parse::<Choice>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_table_gives_what_the_processor_has() {
        if let Some(choice) = Choice::int8() {
            assert!(choice.runs_here() && choice.exact().runs_here() && choice.int8 != Some(Int8Family::Plain));
        }
        let mixed = Choice { floats: Family::Avx2, int8: Some(Int8Family::Avx512Vnni) };
        assert!(!mixed.runs_here(), "vectors of two widths");
    }
}
