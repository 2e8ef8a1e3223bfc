//! overview.png: the slide with its QC, a legend, and a map for each of the features that are
//! labelled or vary most.

use std::error::Error;
use std::io::Write;

use coverslip_plugin_abi as abi;
use coverslip_plugin_abi::names::alert_name;
use image::imageops::{self, FilterType};
use image::{ImageEncoder, RgbImage};

use super::canvas::{Area, Canvas, GREY, INK, Type, cut};
use super::class::{Class, all_classes, class_of};
use super::heat;
use super::scanned::{Scanned, UsedProfile, counted};
use crate::play::Played;

const MARGIN: i32 = 28;
const PANEL: u32 = 330;
/// The largest picture of the slide.
const PICTURE: (u32, u32) = (1280, 860);
const HEADER: i32 = 66;
const MAPS_IN_A_ROW: u32 = 4;
const GAP: i32 = 20;
const ALERT: [u8; 3] = [214, 39, 40];

/// Sizes and places of the picture's parts.
struct Arrangement {
    picture: (u32, u32),
    map: (u32, u32),
    width: u32,
    height: u32,
    maps_top: i32,
}

impl Arrangement {
    fn new((width, height): (u32, u32), maps: usize) -> Arrangement {
        let picture = fit((width, height), PICTURE);
        let content = (picture.0 + PANEL + GAP as u32).max(1000);
        let map_width = (content - (MAPS_IN_A_ROW - 1) * GAP as u32) / MAPS_IN_A_ROW;
        let map = fit((width, height), (map_width, 320));
        let maps_top = HEADER + (picture.1 as i32).max(560) + 30;
        let rows = (maps as u32).div_ceil(MAPS_IN_A_ROW);
        let maps_height = if rows == 0 { 0 } else { 34 + rows * (map.1 + heat::CAPTION + GAP as u32) };
        Arrangement {
            picture,
            map,
            width: content + 2 * MARGIN as u32,
            height: maps_top as u32 + maps_height + 12,
            maps_top,
        }
    }
}

/// The largest size of the same shape that fits; at least one pixel each way.
fn fit((width, height): (u32, u32), (most_width, most_height): (u32, u32)) -> (u32, u32) {
    let scale = (f64::from(most_width) / f64::from(width)).min(f64::from(most_height) / f64::from(height));
    let scaled = |side: u32| ((f64::from(side) * scale).round() as u32).max(1);
    (scaled(width), scaled(height))
}

/// Draws the overview and writes it as PNG.
pub(super) fn write(out: &mut dyn Write, scanned: &Scanned) -> Result<(), Box<dyn Error>> {
    let canvas = draw(scanned);
    let encoder = image::codecs::png::PngEncoder::new(out);
    encoder.write_image(&canvas.pixels, canvas.width, canvas.height, image::ExtendedColorType::Rgb8)?;
    Ok(())
}

fn draw(scanned: &Scanned) -> Canvas {
    let Scanned { played, thumbnail, strongest, .. } = scanned;
    let parts = Arrangement::new(played.extent, strongest.len());
    let mut canvas = Canvas::new(parts.width, parts.height);
    header(&mut canvas, scanned);
    let Some(slide) = RgbImage::from_raw(thumbnail.width, thumbnail.height, thumbnail.pixels()) else {
        return canvas;
    };
    let picture = imageops::resize(&slide, parts.picture.0, parts.picture.1, FilterType::CatmullRom);
    canvas.put(MARGIN, HEADER, parts.picture.0, picture.as_raw());
    overlay(&mut canvas, played, parts.picture);
    legend(&mut canvas, scanned, MARGIN + parts.picture.0 as i32 + GAP);
    if !strongest.is_empty() {
        let title = "SAE features: labelled ones, and those that vary most over the slide";
        canvas.text(MARGIN, parts.maps_top, Type::Bold, INK, title);
        let right = parts.width as i32 - MARGIN;
        scale_bar(&mut canvas, right, parts.maps_top);
    }
    let small = pale(imageops::resize(&slide, parts.map.0, parts.map.1, FilterType::Triangle));
    let step = (parts.width as i32 - 2 * MARGIN + GAP) / MAPS_IN_A_ROW as i32;
    for (index, feature) in strongest.iter().enumerate() {
        let (column, row) = (index as i32 % MAPS_IN_A_ROW as i32, index as i32 / MAPS_IN_A_ROW as i32);
        let y = parts.maps_top + 34 + row * (parts.map.1 as i32 + heat::CAPTION as i32 + GAP);
        let place = (MARGIN + column * step, y, parts.map.0, parts.map.1);
        heat::draw(&mut canvas, played, feature, small.as_raw(), place);
    }
    canvas
}

fn header(canvas: &mut Canvas, scanned: &Scanned) {
    let letters = Type::Title.fits(canvas.width - 2 * MARGIN as u32);
    canvas.text(MARGIN, 12, Type::Title, INK, &cut(&scanned.source.name, letters));
    let (width, height) = scanned.played.extent;
    let mpp = if (scanned.mpp.x - scanned.mpp.y).abs() < 1e-3 * scanned.mpp.x {
        format!("{:.4}", scanned.mpp.x)
    } else {
        format!("{:.4} x {:.4}", scanned.mpp.x, scanned.mpp.y)
    };
    let facts = format!("{width} x {height} px at {mpp} µm/px, bundle {}", scanned.bundle);
    let letters = Type::Body.fits(canvas.width - 2 * MARGIN as u32);
    canvas.text(MARGIN, 37, Type::Body, GREY, &cut(&facts, letters));
}

/// Draws the tiles over the picture, striking ones in their colour and the others as a faint grid, then the alerts.
fn overlay(canvas: &mut Canvas, played: &Played, (width, height): (u32, u32)) {
    let scale = f64::from(width) / f64::from(played.extent.0);
    let at = |pixels: i64, most: u32| ((pixels as f64 * scale).round() as i32).clamp(0, most as i32);
    let area = |x: i64, y: i64, w: i64, h: i64| {
        let (left, top) = (at(x, width), at(y, height));
        Area { x: MARGIN + left, y: HEADER + top, width: at(x + w, width) - left, height: at(y + h, height) - top }
    };
    for striking in [false, true] {
        for tile in played.collected.tiles.iter().map(|tile| &tile.result) {
            let class = class_of(tile);
            let area = area(tile.x, tile.y, tile.width.into(), tile.height.into());
            if class.striking != striking {
                continue;
            }
            if striking {
                canvas.fill(area, class.color, 0.30);
                canvas.frame(area, if area.width > 14 { 2 } else { 1 }, class.color, 0.9);
            } else if area.width > 6 {
                let opacity = if tile.status == abi::TILE_BACKGROUND { 0.35 } else { 0.45 };
                canvas.frame(area, 1, class.color, opacity);
            }
        }
    }
    for alert in played.alerts.iter().filter(|alert| is_of_a_place(alert)) {
        let area = area(alert.x, alert.y, alert.width as i64, alert.height as i64);
        let area = Area { x: area.x - 2, y: area.y - 2, width: area.width + 4, height: area.height + 4 };
        canvas.frame(area, 3, ALERT, 1.0);
    }
    let edge = Area { x: MARGIN - 1, y: HEADER - 1, width: width as i32 + 2, height: height as i32 + 2 };
    canvas.frame(edge, 1, [205, 208, 212], 1.0);
}

/// Whether an alert is about a part of the slide. An overrun is about the computer.
fn is_of_a_place(alert: &abi::Alert) -> bool {
    alert.width > 0 && alert.code != abi::ALERT_OVERRUN
}

/// The panel beside the picture: tiles by class, alerts, speed.
fn legend(canvas: &mut Canvas, scanned: &Scanned, x: i32) {
    let Scanned { played, profile, .. } = scanned;
    let letters = Type::Body.fits(PANEL);
    let mut y = HEADER;
    let mut line = |canvas: &mut Canvas, kind, color, indent: i32, text: &str| {
        canvas.text(x + indent, y, kind, color, &cut(text, letters - indent as usize / 8));
        y += 22;
        y
    };
    line(canvas, Type::Bold, INK, 0, &counted(played.collected.tiles.len(), "tile"));
    for class in all_classes() {
        let count = played.collected.tiles.iter().filter(|tile| class_of(&tile.result) == class).count();
        if count > 0 {
            let below = line(canvas, Type::Body, INK, 28, &format!("{count:6}  {}", class.name));
            swatch(canvas, x, below - 22, class);
        }
    }
    line(canvas, Type::Body, INK, 0, "");
    line(canvas, Type::Bold, INK, 0, &counted(played.alerts.len(), "alert"));
    const MOST: usize = 7;
    for alert in played.alerts.iter().take(MOST) {
        let name = alert_name(alert.code).replace('_', " ");
        let below = line(canvas, Type::Body, INK, 28, &name);
        if is_of_a_place(alert) {
            canvas.frame(Area { x, y: below - 19, width: 18, height: 14 }, 3, ALERT, 1.0);
        }
        let place = match alert.width {
            0 => "the whole slide".to_owned(),
            width => {
                format!("x {}-{}, y {}-{}", alert.x, alert.x + width as i64, alert.y, alert.y + alert.height as i64)
            }
        };
        line(canvas, Type::Body, GREY, 28, &place);
    }
    if played.alerts.len() > MOST {
        line(canvas, Type::Body, GREY, 28, &format!("and {} more", played.alerts.len() - MOST));
    }
    line(canvas, Type::Body, INK, 0, "");
    let speed = played.summary.opened as f64 / played.seconds;
    line(canvas, Type::Body, GREY, 0, &format!("{:.1} s, {speed:.1} tiles/s", played.seconds));
    for text in profile.iter().flat_map(UsedProfile::legend) {
        line(canvas, Type::Body, GREY, 0, &text);
    }
    let uncalibrated = played.collected.tiles.iter().all(|tile| tile.result.flags_calibrated == 0);
    if uncalibrated {
        line(canvas, Type::Body, GREY, 0, "flags by general rules:");
        line(canvas, Type::Body, GREY, 0, "no scanner profile");
    }
}

fn swatch(canvas: &mut Canvas, x: i32, y: i32, class: Class) {
    let area = Area { x, y: y + 3, width: 18, height: 14 };
    canvas.fill(area, class.color, if class.striking { 0.45 } else { 0.12 });
    canvas.frame(area, if class.striking { 2 } else { 1 }, class.color, 1.0);
}

/// The scale of the maps, ending at `right`.
fn scale_bar(canvas: &mut Canvas, right: i32, y: i32) {
    let (width, x) = (160, right - 160 - 34);
    for step in 0..width {
        let area = Area { x: x + step, y: y + 2, width: 1, height: 14 };
        canvas.fill(area, heat::color(step as f32 / width as f32), 1.0);
    }
    canvas.text(x - 16, y, Type::Body, GREY, "0");
    canvas.text(x + width + 6, y, Type::Body, GREY, "max");
}

/// Greyed and lightened, so that the colours on it are the map's.
fn pale(mut picture: RgbImage) -> RgbImage {
    for pixel in picture.pixels_mut() {
        let [r, g, b] = pixel.0.map(u32::from);
        let grey = (3 * r + 6 * g + b) / 10;
        pixel.0 = [((grey + 2 * 255) / 3) as u8; 3];
    }
    picture
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slides_of_any_shape_get_a_picture() {
        for (width, height) in [(6272, 2688), (2220, 2967), (100, 20_000), (20_000, 100), (1, 1)] {
            let parts = Arrangement::new((width, height), 8);
            assert!(parts.picture.0 >= 1 && parts.picture.1 >= 1 && parts.picture.1 <= PICTURE.1);
            assert!(parts.width < 2000 && parts.height < 2400, "{} x {}", parts.width, parts.height);
        }
    }

    #[test]
    fn the_overview_is_a_png() {
        let scanned = super::super::fabricated::scanned();
        let mut out = Vec::new();
        write(&mut out, &scanned).unwrap();
        let picture = image::load_from_memory(&out).unwrap();
        assert!(picture.width() > 1000 && picture.height() > 600);
        // To look at it.
        if let Some(path) = std::env::var_os("COVERSLIP_OVERVIEW") {
            std::fs::write(path, out).unwrap();
        }
    }
}
