//! The picture of stains: absorption, focus, light, sensor.

use super::light::light;
use super::noise::uniform;
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

/// Appends the RGB pixels of `rect`, with a defocus of `sigma` px.
pub(super) fn photograph(rect: Rect, sigma: f32, out: &mut Vec<u8>) {
    let kernel = gaussian(sigma);
    let margin = kernel.len() as i32 / 2;
    let (x, y) = (rect.x as i32 - margin, rect.y as i32 - margin);
    let (width, height) = (rect.width as usize, rect.height as usize);
    let (wide, high) = (width + 2 * margin as usize, height + 2 * margin as usize);
    let stains = stain(x, y, wide as i32, high as i32);
    let channels: [Vec<f32>; 3] = std::array::from_fn(|channel| {
        let light = transmitted(&stains, channel);
        if margin == 0 { light } else { blur(&light, wide, width, height, &kernel) }
    });
    sense(&channels, rect, light, out);
}

/// Appends the RGB pixels of these stains, in focus and with even light.
pub(super) fn photograph_stains(stains: &Stains, rect: Rect, out: &mut Vec<u8>) {
    let channels = std::array::from_fn(|channel| transmitted(stains, channel));
    sense(&channels, rect, |_| [1.0; 3], out);
}

/// The sensor's output for the light in `rect`: gains by column, noise by place.
fn sense(channels: &[Vec<f32>; 3], rect: Rect, light: impl Fn(i32) -> [f32; 3], out: &mut Vec<u8>) {
    let (width, height) = (rect.width as usize, rect.height as usize);
    for row in 0..height {
        let slide_y = (rect.y as usize + row) as i32;
        for column in 0..width {
            let slide_x = (rect.x as usize + column) as i32;
            let gains = light(slide_x);
            for channel in 0..3 {
                let value = channels[channel][row * width + column] * gains[channel];
                let seed = 900 + 2 * channel as u32;
                let noise = uniform(slide_x, slide_y, seed) + uniform(slide_x, slide_y, seed + 1) - 1.0;
                out.push((value + noise * NOISE * 2.45 + 0.5).clamp(0.0, 255.0) as u8);
            }
        }
    }
}

/// Transmitted light by the Beer–Lambert law.
fn transmitted(stains: &Stains, channel: usize) -> Vec<f32> {
    let pairs = stains.haematoxylin.iter().zip(&stains.eosin);
    pairs.map(|(h, e)| GLASS[channel] * (-(h * HAEMATOXYLIN[channel] + e * EOSIN[channel])).exp()).collect()
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
