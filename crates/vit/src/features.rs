//! Which kernels a processor runs: a fixed table of its features, so that two runs on one machine are the same.

use std::str::FromStr;

use coverslip_bundle::Precision;

use crate::check;
use crate::kernels::Kernels;
use crate::kernels::plain::Plain;
#[cfg(target_arch = "x86_64")]
use crate::kernels::{avx2::Avx2, avx512::Avx512, avx512_bf16::BFloat16, avx512_fp16::Float16};
#[cfg(target_arch = "aarch64")]
use crate::kernels::{neon::Neon, neon_fp16::NeonFp16};

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
    /// AVX-512 with products of float16, summed in float16 a block at a time and then in float32.
    Avx512Fp16,
    /// NEON, in float32.
    Neon,
    /// NEON with products of float16, summed as those of [`Family::Avx512Fp16`].
    NeonFp16,
}

impl Family {
    /// The table, the best first.
    pub(crate) const TABLE: [Family; 6] =
        [Self::Avx512Bf16, Self::Avx512Fp16, Self::Avx512, Self::Avx2, Self::NeonFp16, Self::Neon];

    /// The best family for products of float32 or of half the width on this processor; `None` where the table has none.
    pub fn best(half: bool) -> Option<Family> {
        let wanted = |family: &Family| (family.precision() != Precision::Float32) == half && family.is_worth_it();
        first_sound(Self::TABLE.into_iter().filter(wanted).map(|family| (family, family.kernels())))
    }

    /// The name in `runtime_info`, digests and receipts.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
            Self::Avx512Bf16 => "avx512-bf16",
            Self::Avx512Fp16 => "avx512-fp16",
            Self::Neon => "neon",
            Self::NeonFp16 => "neon-fp16",
        }
    }

    /// The type of the model's products. Norms, softmax, the residual stream and the SAE are float32 in every family.
    pub fn precision(self) -> Precision {
        match self {
            Self::Avx512Bf16 => Precision::BFloat16,
            Self::Avx512Fp16 | Self::NeonFp16 => Precision::Float16,
            Self::Plain | Self::Avx2 | Self::Avx512 | Self::Neon => Precision::Float32,
        }
    }

    /// Whether this processor has the instructions.
    pub fn runs_here(self) -> bool {
        self.kernels().is_some()
    }

    /// What the family computes otherwise than the plain kernels on this processor; `None`: nothing, or it does not run.
    pub fn fault(self) -> Option<String> {
        check::fault(&*self.kernels()?)
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
            Self::Plain => Some(boxed(Plain::FLOAT32)),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => Avx2::float32().map(boxed),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => Avx512::float32().map(boxed),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Bf16 => BFloat16::detect().map(boxed),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Fp16 => Float16::detect().map(boxed),
            #[cfg(target_arch = "aarch64")]
            Self::Neon => Neon::float32().map(boxed),
            #[cfg(target_arch = "aarch64")]
            Self::NeonFp16 => NeonFp16::detect().map(boxed),
            // Another architecture's.
            _ => None,
        }
    }

    /// The family of the SAE's products, which are float32.
    pub(crate) fn exact(self) -> Family {
        match self {
            Self::Avx512Bf16 | Self::Avx512Fp16 => Self::Avx512,
            Self::NeonFp16 => Self::Neon,
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

/// The first whose kernels this processor has and computes rightly with.
fn first_sound(families: impl Iterator<Item = (Family, Option<Box<dyn Kernels>>)>) -> Option<Family> {
    let is_sound = |kernels: &dyn Kernels| check::fault(kernels).is_none();
    families.into_iter().find(|(_, kernels)| kernels.as_deref().is_some_and(is_sound)).map(|(family, _)| family)
}

fn boxed(kernels: impl Kernels + 'static) -> Box<dyn Kernels> {
    Box::new(kernels)
}

#[cfg(test)]
mod tests {
    use coverslip_bundle::fold::Norm;

    use super::*;
    use crate::kernels::{Out, Right, To};
    use crate::panels::{Layout, Panels, Rows, Word};

    #[test]
    fn the_table_gives_what_the_processor_has() {
        if let Some(family) = Family::best(false) {
            assert!(family.runs_here() && family.precision() == Precision::Float32 && family != Family::Plain);
        }
        if let Some(family) = Family::best(true) {
            assert!(family.runs_here() && family.precision() != Precision::Float32);
            assert!(family.exact().runs_here() && family.exact().precision() == Precision::Float32);
        }
        let sound = Family::TABLE.into_iter().chain([Family::Plain]).filter(|family| family.runs_here());
        sound.for_each(|family| assert_eq!(family.fault(), None, "{family:?}"));
    }

    /// Kernels of which a product is off by a little in one place.
    struct Broken {
        sound: Plain,
        by: f32,
    }

    impl Kernels for Broken {
        fn layout(&self) -> Layout {
            self.sound.layout()
        }

        fn product(&self, a: Rows<'_>, b: Right<'_>, mut out: Out<'_>) {
            let Out { make, to, stride } = &mut out;
            let To::Values(values) = to else { return self.sound.product(a, b, out) };
            self.sound.product(a, b, Out { make: *make, to: To::Values(values), stride: *stride });
            values[17] += self.by;
        }

        fn narrow(&self, row: &[f32], words: &mut [u32]) {
            self.sound.narrow(row, words);
        }

        fn normalize(&self, row: &[f32], norm: &Norm, to: &mut [f32]) {
            self.sound.normalize(row, norm, to);
        }

        fn softmax(&self, scores: &mut [f32], stride: usize, count: usize, shares: &mut [u32]) {
            self.sound.softmax(scores, stride, count, shares);
        }

        fn transpose(&self, rows: Rows<'_>, to: &mut Panels) {
            self.sound.transpose(rows, to);
        }

        fn stack(&self, values: &[f32], stride: usize, count: usize, to: &mut Panels) {
            self.sound.stack(values, stride, count, to);
        }

        fn accumulate(&self, sum: &mut [f32], row: &[f32], factor: f32) {
            self.sound.accumulate(sum, row, factor);
        }
    }

    fn broken(word: Word, by: f32) -> Option<Box<dyn Kernels>> {
        Some(boxed(Broken { sound: Plain(Layout { word, lines: 1 }), by }))
    }

    #[test]
    fn a_family_that_computes_wrongly_is_passed_over() {
        let sound = |word| Some(boxed(Plain(Layout { word, lines: 3 })));
        let best = |first| {
            let table = [
                (Family::Avx512Fp16, first),
                (Family::NeonFp16, None),
                (Family::Avx512Bf16, sound(Word::BFloat16)),
                (Family::Avx512, sound(Word::Float32)),
            ];
            first_sound(table.into_iter())
        };
        assert_eq!(best(sound(Word::Float16)), Some(Family::Avx512Fp16));
        for by in [1e-3, 1.0, f32::NAN, f32::INFINITY] {
            assert_eq!(best(broken(Word::Float16, by)), Some(Family::Avx512Bf16), "{by}");
        }
        assert_eq!(best(None), Some(Family::Avx512Bf16), "a processor without the instructions");
        let all = [Word::Float32, Word::BFloat16].map(|word| (Family::Avx512, broken(word, 0.25)));
        assert_eq!(first_sound(all.into_iter()), None, "then rten runs, or the precision is refused");
        let said = check::fault(&*broken(Word::Float16, 1.0).unwrap()).unwrap();
        assert!(said.contains("9 x 208 x 80") && said.contains(" for "), "{said}");
    }
}
