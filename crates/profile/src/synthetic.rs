//! Random profiles for tests. They are valid for a bundle, deterministic, and calibrated on standard normal tissue.

use std::collections::BTreeMap;

use super::{
    COLOR_VALUES, Calibration, Check, ColorBaseline, Draw, Perturbation, Profile, Provenance, Scanner, TapGeometry,
};
use coverslip_bundle::Digest;
use coverslip_bundle::Manifest;

/// A profile of the scanners `ids` for a bundle. In every tap tissue is standard normal around 0, and scanners move it
/// along the first value. Every check has `scores` calibration scores: for NOVEL, SCANNER_SHIFT and COLOR_SHIFT from
/// such tissue, for all others uniform in 0..1.
pub fn profile(manifest: &Manifest, digest: Digest, ids: &[&str], scores: usize) -> Profile {
    let taps: Vec<TapGeometry> = manifest
        .taps
        .iter()
        .map(|tap| {
            let width = manifest.tap_width(tap);
            let mut first = vec![0.0; width];
            first[0] = 1.0;
            let mut geometry = TapGeometry {
                name: tap.name.clone(),
                width,
                variances: vec![1.0],
                axes: first.clone(),
                floor: 1.0,
                scanner_axes: Vec::new(),
            };
            geometry.set_scanner_basis(&first);
            geometry
        })
        .collect();
    let judged_tap = taps.len() - 1;
    let features: Vec<u32> = (0..8).collect();
    let effects: Vec<f32> = features.iter().map(|i| if i % 2 == 0 { -0.5 } else { 0.5 }).collect();
    let scanner = |(i, &id): (usize, &&str)| {
        let mut random = Random(Draw::new(i as u64), 0);
        Scanner {
            id: id.to_owned(),
            fitted_slides: vec![format!("{id}-fitted")],
            fitted_tiles: scores,
            calibration_slides: vec![format!("{id}-calibration")],
            means: taps.iter().map(|tap| vec![0.0; tap.width]).collect(),
            effects: effects.clone(),
            color: Some(ColorBaseline { mean: [0.0; COLOR_VALUES], whitening: identity() }),
            calibration: calibration(&mut random, scores, taps[judged_tap].width),
            slide_shift: Calibration::new((0..99).map(|_| 0.7 + 0.1 * random.unit()).collect()),
            ..Scanner::default()
        }
    };
    Profile {
        name: "synthetic".to_owned(),
        bundle: digest,
        provenance: Provenance { paired: true, simulated: ids.len() < 2, precision: None },
        judged_tap,
        features,
        perturbation: Some(Perturbation::MILD),
        scanners: ids.iter().enumerate().map(scanner).collect(),
        taps,
        annotations: BTreeMap::new(),
    }
}

fn identity() -> [[f64; COLOR_VALUES]; COLOR_VALUES] {
    std::array::from_fn(|i| std::array::from_fn(|j| f64::from(u8::from(i == j))))
}

fn calibration(random: &mut Random, scores: usize, width: usize) -> BTreeMap<Check, Calibration> {
    let mut one = |check: Check| match check {
        Check::Novel => random.square(width - 1).sqrt(),
        Check::ScannerShift => random.square(1).sqrt(),
        Check::ColorShift => random.square(COLOR_VALUES),
        _ => random.unit(),
    };
    let mut of = |check: Check| Calibration::new((0..scores).map(|_| one(check)).collect());
    Check::ALL.into_iter().filter(|&check| check != Check::Background).map(|check| (check, of(check))).collect()
}

/// Random numbers that are the same on every machine.
struct Random(Draw, u64);

impl Random {
    /// Uniform in 0..1.
    fn unit(&mut self) -> f32 {
        self.1 += 1;
        self.0.of(self.1).below(1 << 24) as f32 / (1 << 24) as f32
    }

    /// An approximately normal number: the sum of twelve uniform ones minus six.
    fn normal(&mut self) -> f32 {
        (0..12).map(|_| self.unit()).sum::<f32>() - 6.0
    }

    /// An approximately χ² number with `n` degrees of freedom.
    fn square(&mut self, n: usize) -> f32 {
        (0..n).map(|_| self.normal().powi(2)).sum()
    }
}
