//! The picture of stains: absorption, focus, light, sensor.

use super::noise::uniform;
use super::specimen::Specimen;
use super::stains::Stains;
use super::tissue::stain;
use crate::rect::Rect;

/// The colour of glass.
const GLASS: [f32; 3] = [241.0, 240.0, 242.0];
/// Absorption of the red, green and blue light by one unit of haematoxylin and of eosin.
const HAEMATOXYLIN: [f32; 3] = [0.62, 0.74, 0.30];
const EOSIN: [f32; 3] = [0.13, 0.86, 0.46];
/// The sensor's noise, grey levels.
const NOISE: f32 = 1.4;

/// Appends the RGB pixels of `rect` of a specimen's slide, with a defocus of `sigma` px.
pub(super) fn photograph(specimen: &Specimen, rect: Rect, sigma: f32, out: &mut Vec<u8>) {
    let kernel = gaussian(sigma);
    let margin = kernel.len() as i32 / 2;
    let place = (rect.x as i32 + specimen.origin.0, rect.y as i32 + specimen.origin.1);
    let (width, height) = (rect.width as usize, rect.height as usize);
    let (wide, high) = (width + 2 * margin as usize, height + 2 * margin as usize);
    let stains = stain(place.0 - margin, place.1 - margin, wide as i32, high as i32);
    let channels: [Vec<f32>; 3] = std::array::from_fn(|channel| {
        let light = transmitted(&stains, specimen.staining, channel);
        if margin == 0 { light } else { blur(&light, wide, width, height, &kernel) }
    });
    sense(&channels, place, width, |row| specimen.light(rect.y as i32 + row), out);
}

/// Appends the RGB pixels of these stains, in focus and with even light.
pub(super) fn photograph_stains(stains: &Stains, rect: Rect, out: &mut Vec<u8>) {
    let channels = std::array::from_fn(|channel| transmitted(stains, [1.0; 2], channel));
    sense(&channels, (rect.x as i32, rect.y as i32), rect.width as usize, |_| [1.0; 3], out);
}

/// The sensor's output for light that begins at a place of the plane: gains by row, noise by place.
fn sense(
    channels: &[Vec<f32>; 3],
    (x, y): (i32, i32),
    width: usize,
    light: impl Fn(i32) -> [f32; 3],
    out: &mut Vec<u8>,
) {
    for row in 0..channels[0].len() / width.max(1) {
        let gains = light(row as i32);
        for column in 0..width {
            for channel in 0..3 {
                let value = channels[channel][row * width + column] * gains[channel];
                let random = |seed| uniform(x + column as i32, y + row as i32, seed);
                let seed = 900 + 2 * channel as u32;
                let noise = random(seed) + random(seed + 1) - 1.0;
                out.push((value + noise * NOISE * 2.45 + 0.5).clamp(0.0, 255.0) as u8);
            }
        }
    }
}

/// Transmitted light by the Beer–Lambert law, where the stains absorb so many times as much as usual.
fn transmitted(stains: &Stains, [haematoxylin, eosin]: [f32; 2], channel: usize) -> Vec<f32> {
    let (by_h, by_e) = (haematoxylin * HAEMATOXYLIN[channel], eosin * EOSIN[channel]);
    let pairs = stains.haematoxylin.iter().zip(&stains.eosin);
    pairs.map(|(h, e)| GLASS[channel] * (-(h * by_h + e * by_e)).exp()).collect()
}

/// Weights whose sum is 1; a single 1 if there is nothing to blur.
fn gaussian(sigma: f32) -> Vec<f32> {
    let radius = (3.0 * sigma).ceil() as i32;
    let weights: Vec<f32> = (-radius..=radius)
        .map(|i| if radius == 0 { 1.0 } else { (-((i * i) as f32) / (2.0 * sigma * sigma)).exp() })
        .collect();
    let sum: f32 = weights.iter().sum();
    weights.iter().map(|weight| weight / sum).collect()
}

/// Blurs a plane that has a margin of the kernel's radius on every side. Each pixel's sum has the same order in every
/// rectangle, so that the slide is the same to the bit.
fn blur(plane: &[f32], wide: usize, width: usize, height: usize, kernel: &[f32]) -> Vec<f32> {
    let high = height + kernel.len() - 1;
    let mut rows = vec![0.0; width * high];
    for (from, to) in plane.chunks_exact(wide).zip(rows.chunks_exact_mut(width)) {
        for (k, weight) in kernel.iter().enumerate() {
            for (sum, value) in to.iter_mut().zip(&from[k..]) {
                *sum += weight * value;
            }
        }
    }
    let mut out = vec![0.0; width * height];
    for (row, to) in out.chunks_exact_mut(width).enumerate() {
        for (k, weight) in kernel.iter().enumerate() {
            for (sum, value) in to.iter_mut().zip(&rows[(row + k) * width..]) {
                *sum += weight * value;
            }
        }
    }
    out
}
