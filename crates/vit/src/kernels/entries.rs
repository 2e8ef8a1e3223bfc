//! The entries of a family: where its instructions are enabled.

/// Implements [`super::Kernels`] for a family: each kernel is the generic one, compiled with the family's instructions.
macro_rules! kernels {
    ($family:ty, $features:literal, rows $rows:literal, lines $lines:literal) => {
        impl $crate::kernels::Kernels for $family {
            fn layout(&self) -> $crate::panels::Layout {
                $crate::panels::Layout { word: <$family as $crate::kernels::vector::Multiply>::WORD, lines: $lines }
            }

            fn product(
                &self,
                a: $crate::panels::Rows<'_>,
                b: $crate::kernels::Right<'_>,
                out: $crate::kernels::Out<'_>,
            ) {
                #[target_feature(enable = $features)]
                fn with(
                    family: $family,
                    a: $crate::panels::Rows<'_>,
                    b: $crate::kernels::Right<'_>,
                    out: $crate::kernels::Out<'_>,
                ) {
                    $crate::kernels::product::product::<_, _, $rows, $lines>((family, family), a, b, out);
                }
                // SAFETY: the family proves that the processor has these instructions.
                unsafe { with(*self, a, b, out) }
            }

            fn narrow(&self, row: &[f32], words: &mut [u32]) {
                #[target_feature(enable = $features)]
                fn with(family: $family, row: &[f32], words: &mut [u32]) {
                    $crate::kernels::rows::narrow(family, row, words);
                }
                // SAFETY: the family proves that the processor has these instructions.
                unsafe { with(*self, row, words) }
            }

            fn normalize(&self, row: &[f32], norm: &coverslip_bundle::fold::Norm, to: &mut [f32]) {
                #[target_feature(enable = $features)]
                fn with(family: $family, row: &[f32], norm: &coverslip_bundle::fold::Norm, to: &mut [f32]) {
                    $crate::kernels::rows::normalize(family, row, norm, to);
                }
                // SAFETY: the family proves that the processor has these instructions.
                unsafe { with(*self, row, norm, to) }
            }

            fn softmax(&self, scores: &mut [f32], stride: usize, count: usize, shares: &mut [u32]) {
                #[target_feature(enable = $features)]
                fn with(family: $family, scores: &mut [f32], stride: usize, count: usize, shares: &mut [u32]) {
                    $crate::kernels::rows::softmax(family, scores, stride, count, shares);
                }
                // SAFETY: the family proves that the processor has these instructions.
                unsafe { with(*self, scores, stride, count, shares) }
            }

            fn transpose(&self, rows: $crate::panels::Rows<'_>, to: &mut $crate::panels::Panels) {
                #[target_feature(enable = $features)]
                fn with(family: $family, rows: $crate::panels::Rows<'_>, to: &mut $crate::panels::Panels) {
                    let v = $crate::kernels::vector::Multiply::vector(family);
                    $crate::kernels::rows::transpose(v, rows, to);
                }
                // SAFETY: the family proves that the processor has these instructions.
                unsafe { with(*self, rows, to) }
            }

            fn stack(&self, values: &[f32], stride: usize, count: usize, to: &mut $crate::panels::Panels) {
                #[target_feature(enable = $features)]
                fn with(family: $family, values: &[f32], stride: usize, count: usize, to: &mut $crate::panels::Panels) {
                    $crate::kernels::rows::stack(family, values, stride, count, to);
                }
                // SAFETY: the family proves that the processor has these instructions.
                unsafe { with(*self, values, stride, count, to) }
            }

            fn accumulate(&self, sum: &mut [f32], row: &[f32], factor: f32) {
                #[target_feature(enable = $features)]
                fn with(family: $family, sum: &mut [f32], row: &[f32], factor: f32) {
                    $crate::kernels::rows::accumulate(family, sum, row, factor);
                }
                // SAFETY: the family proves that the processor has these instructions.
                unsafe { with(*self, sum, row, factor) }
            }
        }
    };
}

/// Implements [`super::Int8Kernels`] for a pair of families: how int8 is multiplied, and how operands are written.
macro_rules! int8_kernels {
    ($octets:ty, $family:ty, $features:literal, rows $rows:literal, lines $lines:literal) => {
        impl $crate::kernels::Int8Kernels for ($octets, $family) {
            fn layout(&self) -> $crate::panels::Layout {
                $crate::panels::Layout { word: <$octets as $crate::kernels::vector::Multiply>::WORD, lines: $lines }
            }

            fn quantise(&self, row: &[f32], words: &mut [u32]) -> $crate::panels::Scale {
                #[target_feature(enable = $features)]
                fn with(octets: $octets, row: &[f32], words: &mut [u32]) -> $crate::panels::Scale {
                    let v = $crate::kernels::vector::Multiply::vector(octets);
                    $crate::kernels::octets::quantise(v, row, words)
                }
                // SAFETY: the family proves that the processor has these instructions.
                unsafe { with(self.0, row, words) }
            }

            fn product(
                &self,
                a: $crate::panels::Rows<'_>,
                b: $crate::kernels::Right<'_>,
                out: $crate::kernels::Out<'_>,
            ) {
                #[target_feature(enable = $features)]
                fn with(
                    families: ($octets, $family),
                    a: $crate::panels::Rows<'_>,
                    b: $crate::kernels::Right<'_>,
                    out: $crate::kernels::Out<'_>,
                ) {
                    $crate::kernels::product::product::<_, _, $rows, $lines>(families, a, b, out);
                }
                // SAFETY: the families prove that the processor has these instructions.
                unsafe { with(*self, a, b, out) }
            }
        }
    };
}

pub(super) use int8_kernels;
pub(super) use kernels;
