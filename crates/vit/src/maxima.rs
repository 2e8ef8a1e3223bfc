//! What the norms of some tiles put out, from which a mix's factors follow.

use coverslip_bundle::fold::Linear;

/// The largest absolute value of each of a norm's outputs, block by block: before attention, and before the MLP.
#[derive(Clone, Debug)]
pub struct Maxima {
    pub(crate) blocks: Vec<[Vec<f32>; 2]>,
}

impl Maxima {
    pub(crate) fn none(blocks: usize, width: usize) -> Maxima {
        Maxima { blocks: vec![[vec![0.0; width], vec![0.0; width]]; blocks] }
    }

    pub(crate) fn see(&mut self, block: usize, norm: usize, row: &[f32]) {
        let seen = &mut self.blocks[block][norm];
        seen.iter_mut().zip(row).for_each(|(most, value)| *most = most.max(value.abs()));
    }
}

/// SmoothQuant's factors of a norm whose outputs reach `largest` and are read by `layers`: √(activation / weight), so
/// that both have the same spread.
pub(crate) fn factors(largest: &[f32], layers: &[Linear]) -> Vec<f32> {
    let weight = |input: usize| {
        let rows = layers.iter().flat_map(|layer| &layer.weight[input * layer.outputs..][..layer.outputs]);
        rows.fold(0.0_f32, |most, value| most.max(value.abs()))
    };
    let factor = |(input, activation): (usize, &f32)| {
        let factor = (activation / weight(input)).sqrt();
        // A value that is always 0, or that nothing reads.
        if factor.is_finite() && factor > 0.0 { factor.clamp(1e-3, 1e3) } else { 1.0 }
    };
    largest.iter().enumerate().map(factor).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors_even_out_activations_and_weights() {
        let layer = |weight: Vec<f32>| Linear { inputs: 3, outputs: 2, weight, bias: None };
        let layers = [layer(vec![1.0, -4.0, 1.0, 0.0, 0.0, 0.0]), layer(vec![0.5, 0.5, 0.25, 0.5, 0.0, 0.0])];
        assert_eq!(factors(&[16.0, 0.25, 7.0], &layers), [2.0, 0.5, 1.0]);
    }
}
