//! A change of colour such as lies between scanners, for UNSTABLE.

use serde::{Deserialize, Serialize};

/// p′ = M·p + b per pixel, in grey levels 0..255, rounded and clipped.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Perturbation {
    /// M, rows for R, G, B out.
    pub matrix: [[f32; 3]; 3],
    /// b.
    pub offset: [f32; 3],
}

impl Perturbation {
    /// A white balance that is off by 4 % between red and blue, and a little less light: what two scanners of one make
    /// may differ by.
    pub const MILD: Perturbation =
        Perturbation { matrix: [[1.0, 0.0, 0.0], [0.0, 0.98, 0.0], [0.0, 0.0, 0.96]], offset: [0.0; 3] };

    /// Perturbs packed RGB `from` into `to` of the same length.
    pub fn apply(&self, from: &[u8], to: &mut [u8]) {
        let (from, _) = from.as_chunks::<3>();
        let (to, _) = to.as_chunks_mut::<3>();
        for (pixel, out) in from.iter().zip(to) {
            let p = pixel.map(f32::from);
            for (channel, value) in out.iter_mut().enumerate() {
                let m = &self.matrix[channel];
                // A cast from float saturates: that is the clipping.
                *value = (m[0] * p[0] + m[1] * p[1] + m[2] * p[2] + self.offset[channel] + 0.5) as u8;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pixels_are_multiplied_rounded_and_clipped() {
        let swap =
            Perturbation { matrix: [[0.0, 0.0, 2.0], [0.0, 1.0, 0.0], [0.5, 0.0, 0.0]], offset: [0.0, -9.0, 0.0] };
        let mut out = [7; 6];
        swap.apply(&[101, 5, 30, 3, 20, 200], &mut out);
        assert_eq!(out, [60, 0, 51, 255, 11, 2]);
    }
}
