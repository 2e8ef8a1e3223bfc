//! The page of a profile: what was set aside while it was built, with a picture of each tile, so that a person can say
//! whether that was right.

use std::fmt::Write;
use std::path::Path;

use coverslip_slides::{Rect, Selection, SlideSource};

use super::screening::{Screening, SlideFindings, Strange};
use crate::report::{html, picture};

/// The page's file in the profile's folder. The profile's digest does not cover it: it changes no number.
pub(super) const PAGE: &str = "set-aside.html";
/// Pictures of one slide, and on the page.
const MOST_OF_A_SLIDE: usize = 6;
const MOST: usize = 120;

/// The page for these scanners, by their names.
pub(super) fn page(profile: &str, scanners: &[(&str, &Screening)], kept: bool) -> String {
    let mut body = html::paragraph(if kept {
        "These tiles and slides do not seem to belong, and were kept, as --keep-all asks."
    } else {
        "These tiles and slides do not seem to belong, and neither fitted nor calibrated the profile. Look at them: where \
         they are what the scanner's slides look like, build again with --keep-all."
    });
    let mut left = MOST;
    for (id, screening) in scanners {
        body.push_str(&format!("<section><h2>{}</h2>\n", html::escape(id)));
        let rows: Vec<Vec<String>> = screening.slides.iter().filter(|slide| is_shown(slide)).map(row).collect();
        if rows.is_empty() {
            body.push_str(&html::paragraph("Nothing was set aside."));
        } else {
            body.push_str(&html::table("What was set aside", &["Slide", "Of its tiles", "Why"], &rows));
        }
        for slide in screening.slides.iter().filter(|slide| is_shown(slide)) {
            body.push_str(&pictures(slide, &mut left));
        }
        body.push_str("</section>\n");
    }
    html::page(&format!("What the profile {profile} leaves out"), &[], &body)
}

fn is_shown(slide: &SlideFindings) -> bool {
    slide.whole.is_some() || !slide.strange.is_empty()
}

fn row(slide: &SlideFindings) -> Vec<String> {
    let mut reasons: Vec<_> = slide.strange.iter().map(|strange| strange.why).collect();
    reasons.extend(slide.whole.map(|(why, _)| why));
    reasons.sort_unstable();
    reasons.dedup();
    let says: Vec<&str> = reasons.into_iter().map(|why| why.says()).collect();
    let of = match slide.whole {
        Some(_) => format!("all {}", slide.tiles),
        None => format!("{} of {}", slide.strange.len(), slide.tiles),
    };
    vec![html::escape(&slide.name), of, html::escape(&says.join(", "))]
}

/// Pictures of a slide's tiles, the first of them in the order of the slide, evenly spaced.
fn pictures(slide: &SlideFindings, left: &mut usize) -> String {
    let count = slide.strange.len().min(MOST_OF_A_SLIDE).min(*left);
    *left -= count;
    let chosen: Vec<&Strange> = (0..count).map(|i| &slide.strange[i * slide.strange.len() / count]).collect();
    let mut source = match coverslip_slides::open(Path::new(&slide.name), &Selection::default()) {
        Ok(source) => source,
        Err(error) => return html::paragraph(&format!("{}: no pictures: {error}", slide.name)),
    };
    let mut text = String::from("<p>");
    for strange in chosen {
        match tile(source.as_mut(), strange.area) {
            Ok(url) => {
                let says = format!("{}, at {}, {}", strange.why.says(), strange.area[0], strange.area[1]);
                let says = html::escape(&says);
                let _ =
                    writeln!(text, "<img src=\"{url}\" alt=\"{says}\" title=\"{says}\" width=\"88\" height=\"88\">");
            }
            Err(error) => {
                let _ = write!(text, "{}", html::escape(&error));
            }
        }
    }
    text + "</p>\n"
}

fn tile(source: &mut dyn SlideSource, [x, y, width, height]: [i64; 4]) -> Result<String, String> {
    let (across, down) = (i64::from(source.info().width), i64::from(source.info().height));
    let (left, top) = (x.clamp(0, across), y.clamp(0, down));
    let (right, bottom) = ((x + width).clamp(left, across), (y + height).clamp(top, down));
    let rect = Rect { x: left as u32, y: top as u32, width: (right - left) as u32, height: (bottom - top) as u32 };
    let mut pixels = Vec::new();
    source.read(rect, &mut pixels).map_err(|error| error.to_string())?;
    let image = image::RgbImage::from_raw(rect.width, rect.height, pixels).ok_or("too few pixels")?;
    picture(&image)
}
