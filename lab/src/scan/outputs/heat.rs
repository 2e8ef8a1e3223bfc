//! A small map of one feature over the slide.

use coverslip_plugin_abi as abi;

use super::canvas::{Area, Canvas, GREY, INK, Type, cut};
use super::scanned::StrongFeature;
use crate::play::{Played, Tile};

/// A perceptually even scale from dark violet to yellow.
const SCALE: [[u8; 3]; 9] = [
    [68, 1, 84],
    [71, 44, 122],
    [59, 81, 139],
    [44, 113, 142],
    [33, 144, 141],
    [39, 173, 129],
    [92, 200, 99],
    [170, 220, 50],
    [253, 231, 37],
];
/// Lines of text above a map.
pub(super) const CAPTION: u32 = 44;

/// The colour of a value from 0 to 1.
pub(super) fn color(value: f32) -> [u8; 3] {
    let value = if value.is_nan() { 0.0 } else { value };
    let place = value.clamp(0.0, 1.0) * (SCALE.len() - 1) as f32;
    let low = (place as usize).min(SCALE.len() - 2);
    let share = place - low as f32;
    std::array::from_fn(|channel| {
        let (from, to) = (f32::from(SCALE[low][channel]), f32::from(SCALE[low + 1][channel]));
        (from + (to - from) * share).round() as u8
    })
}

/// Draws the map of `feature` with its caption at (x, y); `slide` is a pale picture of `width` x `height` pixels.
pub(super) fn draw(
    canvas: &mut Canvas,
    played: &Played,
    feature: &StrongFeature,
    slide: &[u8],
    (x, y, width, height): (i32, i32, u32, u32),
) {
    let activation = |tile: &Tile| {
        let found = played.collected.features(tile).iter().find(|other| other.index == feature.index);
        found.map_or(0.0, |feature| feature.value)
    };
    let done = || played.collected.tiles.iter().filter(|tile| tile.result.status == abi::TILE_DONE);
    let largest = done().map(activation).fold(0.0, f32::max).max(f32::MIN_POSITIVE);
    let active = done().filter(|tile| activation(tile) > 0.0).count();
    let share = 100.0 * active as f64 / done().count().max(1) as f64;
    let letters = Type::Body.fits(width);
    let name = format!("#{} {}", feature.index, feature.label);
    canvas.text(x, y, Type::Bold, INK, &cut(name.trim_end(), letters));
    canvas.text(x, y + 20, Type::Body, GREY, &cut(&format!("{share:.0} % of tiles, max {largest:.1}"), letters));

    let top = y + CAPTION as i32;
    canvas.put(x, top, width, slide);
    let scale = f64::from(width) / f64::from(played.extent.0);
    for tile in done() {
        let at = |pixels: i64| (pixels as f64 * scale).round() as i32;
        let (left, upper) = (at(tile.result.x), at(tile.result.y));
        let (right, lower) = (
            at(tile.result.x + i64::from(tile.result.width)).min(width as i32),
            at(tile.result.y + i64::from(tile.result.height)).min(height as i32),
        );
        let area = Area { x: x + left, y: top + upper, width: right - left, height: lower - upper };
        canvas.fill(area, color(activation(tile) / largest), 0.85);
    }
    let edge = Area { x, y: top, width: width as i32, height: height as i32 };
    canvas.frame(edge, 1, [205, 208, 212], 1.0);
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_scale_has_its_ends() {
        assert_eq!(super::color(0.0), super::SCALE[0]);
        assert_eq!(super::color(1.0), super::SCALE[8]);
        assert_eq!(super::color(f32::NAN), super::SCALE[0]);
    }
}
