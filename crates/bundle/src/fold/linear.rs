//! A linear layer and a norm.

use crate::error::{BundleError, fail};

/// A linear layer, its weight transposed to `[inputs, outputs]`.
#[derive(Clone, Debug)]
pub struct Linear {
    pub inputs: usize,
    pub outputs: usize,
    pub weight: Vec<f32>,
    pub bias: Option<Vec<f32>>,
}

/// Rows transposed at once: a cache line of each row's values.
const BLOCK: usize = 16;

impl Linear {
    /// Converts from PyTorch's layout (`weight` `[outputs, inputs]`) and multiplies each output by `scale(output)`.
    ///
    /// # Errors
    /// `TooLarge` when memory is short.
    pub(super) fn from_rows(
        weight: &[f32],
        bias: Option<&[f32]>,
        inputs: usize,
        scale: impl Fn(usize) -> f64,
    ) -> Result<Self, BundleError> {
        let outputs = weight.len() / inputs;
        let mut transposed = zeroed(weight.len())?;
        for (block, rows) in weight.chunks(BLOCK * inputs).enumerate() {
            let (first, height) = (block * BLOCK, rows.len() / inputs);
            let mut scales = [1.0; BLOCK];
            (0..height).for_each(|row| scales[row] = scale(first + row));
            for (input, line) in transposed.chunks_exact_mut(outputs).enumerate() {
                for (row, value) in line[first..first + height].iter_mut().enumerate() {
                    *value = (f64::from(rows[row * inputs + input]) * scales[row]) as f32;
                }
            }
        }
        let scaled = |(i, b): (usize, &f32)| (f64::from(*b) * scale(i)) as f32;
        let bias = bias.map(|bias| bias.iter().enumerate().map(scaled).collect());
        Ok(Self { inputs, outputs, weight: transposed, bias })
    }
}

/// A LayerNorm's parameters.
#[derive(Clone, Debug)]
pub struct Norm {
    pub weight: Vec<f32>,
    pub bias: Vec<f32>,
    pub eps: f64,
}

/// Zeros, or an error where there is no memory for them.
pub(super) fn zeroed(count: usize) -> Result<Vec<f32>, BundleError> {
    let mut values = Vec::new();
    if values.try_reserve_exact(count).is_err() {
        fail!(TooLarge, "no memory for the {count} values of a layer");
    }
    values.resize(count, 0.0);
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_become_columns_with_their_scale() {
        // 19 outputs: a whole block and a part of one.
        let (inputs, outputs) = (3, BLOCK + 3);
        let weight: Vec<f32> = (0..inputs * outputs).map(|i| i as f32).collect();
        let bias: Vec<f32> = (0..outputs).map(|i| i as f32).collect();
        let linear = Linear::from_rows(&weight, Some(&bias), inputs, |output| 1.0 + output as f64).unwrap();
        assert_eq!((linear.inputs, linear.outputs), (inputs, outputs));
        for output in 0..outputs {
            let scale = 1.0 + output as f32;
            assert_eq!(linear.bias.as_ref().unwrap()[output], scale * output as f32);
            for input in 0..inputs {
                assert_eq!(linear.weight[input * outputs + output], scale * weight[output * inputs + input]);
            }
        }
    }
}
