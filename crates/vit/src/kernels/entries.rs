//! The entries of a family: where its instructions are enabled.

/// Implements [`super::Kernels`] for a family: each kernel is the generic one, compiled with the family's instructions.
macro_rules! kernels {
    ($family:ty, $features:literal, rows $rows:literal, lines $lines:literal) => {
        impl $crate::kernels::Kernels for $family {
            fn layout(&self) -> $crate::panels::Layout {
                $crate::panels::Layout { values: <$family as $crate::kernels::vector::Product>::VALUES, lines: $lines }
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
                    $crate::kernels::product::product::<_, $rows, $lines>(family, a, b, out);
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

            fn softmax(&self, row: &mut [f32], count: usize) {
                #[target_feature(enable = $features)]
                fn with(family: $family, row: &mut [f32], count: usize) {
                    $crate::kernels::rows::softmax(family, row, count);
                }
                // SAFETY: the family proves that the processor has these instructions.
                unsafe { with(*self, row, count) }
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
pub(super) use kernels;
