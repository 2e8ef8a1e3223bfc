//! What light does on its way to the camera, for the tests of focus: a stage that moves, and defocus by Fourier optics.

use std::collections::BTreeMap;
use std::f32::consts::PI;

/// The side of a test's tile, px.
pub(super) const SIDE: usize = 224;

/// The light spread over the points of `(dx, dy, weight)`, of which each takes the pixel around it; the picture goes
/// on at its borders as a torus.
pub(super) fn spread(green: &[f32], points: &[(i32, i32, f32)]) -> Vec<f32> {
    let total: f32 = points.iter().map(|point| point.2).sum();
    let wrapped = |i: usize, d: i32| (i as i32 + d).rem_euclid(SIDE as i32) as usize;
    let at = |x: usize, y: usize| {
        let sum: f32 =
            points.iter().map(|&(dx, dy, weight)| weight * green[wrapped(y, dy) * SIDE + wrapped(x, dx)]).sum();
        sum / total
    };
    (0..SIDE * SIDE).map(|i| at(i % SIDE, i / SIDE)).collect()
}

/// A stage that moves by `length` px during the exposure, by `degrees` from along a row towards down a column.
pub(super) fn smear(length: f32, degrees: f32) -> Vec<(i32, i32, f32)> {
    let (sin, cos) = degrees.to_radians().sin_cos();
    let steps = 8 * length as usize;
    let place = |i: usize| length * ((i as f32 + 0.5) / steps as f32 - 0.5);
    let mut points = BTreeMap::new();
    for (x, y) in (0..steps).map(|i| (place(i) * cos, place(i) * sin)) {
        let (left, up) = (x.floor(), y.floor());
        for (right, down) in [(0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (1.0, 1.0)] {
            let share = (1.0 - (x - left - right).abs()) * (1.0 - (y - up - down).abs());
            *points.entry(((left + right) as i32, (up + down) as i32)).or_insert(0.0) += share;
        }
    }
    points.into_iter().map(|((dx, dy), share)| (dx, dy, share)).collect()
}

/// Incoherent light through a circular pupil of `NA` that is `um` out of focus, by Fourier optics (Goodman, Introduction
/// to Fourier Optics, ch. 6): |∫ exp(i ψ ρ²) J₀(v ρ) ρ dρ|², where the phase at the pupil's rim is ψ = π NA² z / (n λ).
pub(super) fn defocus(um: f32) -> Vec<(i32, i32, f32)> {
    const NA: f32 = 0.75;
    const GREEN_UM: f32 = 0.54;
    const MOUNTANT: f32 = 1.52;
    const PIXEL_UM: f32 = 0.5;
    let bessel = |x: f32| (0..32).map(|i| (x * (PI * (i as f32 + 0.5) / 32.0).sin()).cos()).sum::<f32>() / 32.0;
    let phase = PI * NA * NA * um / (MOUNTANT * GREEN_UM);
    let intensity = |pixels: f32| {
        let v = 2.0 * PI * NA * pixels * PIXEL_UM / GREEN_UM;
        let (re, im) = (0..200).map(|i| (i as f32 + 0.5) / 200.0).fold((0.0, 0.0), |(re, im), rho| {
            let wave = bessel(v * rho) * rho;
            (re + wave * (phase * rho * rho).cos(), im + wave * (phase * rho * rho).sin())
        });
        re * re + im * im
    };
    let reach = 3 + (2.0 * um) as i32;
    let places = (-reach..=reach).flat_map(|dy| (-reach..=reach).map(move |dx| (dx, dy)));
    places.map(|(dx, dy)| (dx, dy, intensity((dx as f32).hypot(dy as f32)))).collect()
}
