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
    /// `OutOfMemory` when memory is short.
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

/// Divides what a norm puts out by `factors` and multiplies what reads it, so that the product is the same.
pub fn smooth(norm: &mut Norm, layers: &mut [Linear], factors: &[f32]) {
    let divide = |values: &mut [f32]| values.iter_mut().zip(factors).for_each(|(value, factor)| *value /= factor);
    divide(&mut norm.weight);
    divide(&mut norm.bias);
    for layer in layers {
        for (row, factor) in layer.weight.chunks_exact_mut(layer.outputs).zip(factors) {
            row.iter_mut().for_each(|value| *value *= factor);
        }
    }
}

/// Zeros, or an error where there is no memory for them.
pub(super) fn zeroed(count: usize) -> Result<Vec<f32>, BundleError> {
    let mut values = Vec::new();
    if values.try_reserve_exact(count).is_err() {
        fail!(OutOfMemory, "no memory for the {count} values of a layer");
    }
    values.resize(count, 0.0);
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_smoothed_product_is_the_same() {
        let mut norm = Norm { weight: vec![1.0, 2.0], bias: vec![0.5, -1.0], eps: 1e-6 };
        let layer = Linear { inputs: 2, outputs: 3, weight: vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0], bias: None };
        let (before, mut layers) = (norm.clone(), [layer.clone(), layer]);
        smooth(&mut norm, &mut layers, &[2.0, 8.0]);
        let product = |norm: &Norm, layer: &Linear, output: usize| {
            let x = |i: usize| 3.0 * norm.weight[i] + norm.bias[i];
            x(0) * layer.weight[output] + x(1) * layer.weight[3 + output]
        };
        assert_eq!((norm.weight[1], norm.bias[1]), (0.25, -0.125));
        let expected = Linear { weight: vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0], ..layers[0].clone() };
        for layer in &layers {
            (0..3).for_each(|i| assert_eq!(product(&norm, layer, i), product(&before, &expected, i)));
        }
    }

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
