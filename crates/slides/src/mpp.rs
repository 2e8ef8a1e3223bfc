//! Micrometres per pixel from a TIFF's tags and description.

use std::collections::VecDeque;

use super::description::Mpp;
use super::xml;

/// The range that the plugin's contract accepts, µm/px.
pub const RANGE: std::ops::RangeInclusive<f64> = 0.01..=100.0;

/// Coarsest plausible resolution tags, µm/px. Coarser ones state a screen's or a printer's resolution.
const COARSEST_FROM_TAGS: f64 = 20.0;

/// Micrometres per pixel by what the scanner wrote, else by the resolution tags. `said` is None where the scanner has no
/// words of its own.
///
/// # Errors
/// Says why there is none.
pub(super) fn first_of(said: Option<Result<Mpp, String>>, tags: Result<Mpp, String>) -> Result<Mpp, String> {
    match (said, tags) {
        (Some(Ok(mpp)), _) | (Some(Err(_)) | None, Ok(mpp)) => Ok(mpp),
        (Some(Err(said)), Err(tags)) => Err(format!("{said}; {tags}")),
        (None, Err(tags)) => Err(tags),
    }
}

/// By XResolution and YResolution, pixels per unit. The unit: 1 is none, 2 inch, 3 centimetre.
///
/// # Errors
/// Says why the tags cannot be believed.
pub(super) fn by_tags(resolution: Option<(f64, f64)>, unit: u16) -> Result<Mpp, String> {
    let Some((x, y)) = resolution else { return Err("no resolution tags".into()) };
    let micrometres = match unit {
        2 => 25_400.0,
        3 => 10_000.0,
        _ => return Err("the resolution tags have no unit".into()),
    };
    let (x, y) = (micrometres / x, micrometres / y);
    let usable = |mpp: f64| RANGE.contains(&mpp) && mpp <= COARSEST_FROM_TAGS;
    if usable(x) && usable(y) {
        Ok(Mpp { x, y, source: "XResolution and YResolution".into() })
    } else {
        Err(format!("the resolution tags say {x:.1} x {y:.1} um/px, which no scanner has"))
    }
}

/// By `... |MPP = 0.4990|...` in Aperio's description.
///
/// # Errors
/// Where it has no such field, or one that cannot be.
pub(super) fn by_aperio(text: &str) -> Result<Mpp, String> {
    let found = text.split('|').find_map(|field| {
        let (key, value) = field.split_once('=')?;
        let mpp: f64 = value.trim().parse().ok()?;
        (key.trim().eq_ignore_ascii_case("MPP") && RANGE.contains(&mpp)).then_some(mpp)
    });
    let mpp = found.ok_or("the Aperio description has no usable MPP")?;
    Ok(Mpp { x: mpp, y: mpp, source: "ImageDescription, MPP (Aperio)".into() })
}

/// By DICOM_PIXEL_SPACING in Philips' XML, which gives the distance of rows, then of columns, in millimetres. The whole
/// slide's stands at the top; its smaller copies have their own.
///
/// # Errors
/// Where the text is damaged, or the attribute is not there or cannot be.
pub(super) fn by_philips(text: &str) -> Result<Mpp, String> {
    xml::look(text, "the Philips XML", |document| {
        let is_spacing = |node: roxmltree::Node<'_, '_>| node.attribute("Name") == Some("DICOM_PIXEL_SPACING");
        let of_slide = highest(document, is_spacing).ok_or("the Philips XML has no DICOM_PIXEL_SPACING")?;
        let text = of_slide.text().unwrap_or_default();
        let numbers = text.split_whitespace().map(|number| number.trim_matches('"').parse::<f64>());
        match numbers.collect::<Result<Vec<_>, _>>().as_deref() {
            Ok(&[rows, columns]) if RANGE.contains(&(1e3 * rows)) && RANGE.contains(&(1e3 * columns)) => {
                Ok(Mpp { x: 1e3 * columns, y: 1e3 * rows, source: "Philips XML, DICOM_PIXEL_SPACING".into() })
            }
            _ => Err("the Philips XML has a DICOM_PIXEL_SPACING that is not two plausible lengths".into()),
        }
    })
}

/// The first of the nodes nearest to the root that are looked for. Level by level, because to count the ancestors of each
/// takes time with the square of a text that is nested deeply.
fn highest<'a, 'input>(
    document: &'a roxmltree::Document<'input>,
    is: impl Fn(roxmltree::Node<'a, 'input>) -> bool,
) -> Option<roxmltree::Node<'a, 'input>> {
    let mut level = VecDeque::from([document.root()]);
    while let Some(node) = level.pop_front() {
        if is(node) {
            return Some(node);
        }
        level.extend(node.children());
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aperio_descriptions() {
        let text = "Aperio Image Library v11.2.1 \r\n46000x32914 JPEG/RGB Q=30|AppMag = 20|MPP = 0.4990|Left = 25.69";
        let none = || by_tags(None, 2);
        let mpp = first_of(Some(by_aperio(text)), none()).unwrap();
        assert_eq!((mpp.x, mpp.y), (0.499, 0.499));
        assert!(mpp.source.contains("Aperio"));
        let reason = first_of(Some(by_aperio("Aperio Image Library|AppMag = 20|MPP = 0")), none()).unwrap_err();
        assert_eq!(reason, "the Aperio description has no usable MPP; no resolution tags");
    }

    #[test]
    fn philips_gives_rows_then_columns_in_millimetres() {
        let xml = |spacing: &str| {
            format!(
                "<DataObject ObjectType=\"DPUfsImport\"><Attribute Name=\"X\"><Array><DataObject>\
                 <Attribute Name=\"DICOM_PIXEL_SPACING\">&quot;0.001&quot; &quot;0.001&quot;</Attribute>\
                 </DataObject></Array></Attribute>\
                 <Attribute Name=\"DICOM_PIXEL_SPACING\" PMSVR=\"IDoubleArray\">{spacing}</Attribute></DataObject>"
            )
        };
        let mpp = by_philips(&xml("&quot;0.00025&quot; &quot;0.0005&quot;")).unwrap();
        assert_eq!((mpp.x, mpp.y), (0.5, 0.25));
        assert!(by_philips(&xml("&quot;Jane&quot;")).unwrap_err().contains("not two plausible lengths"));
        assert!(by_philips("<a/>").unwrap_err().contains("has no DICOM_PIXEL_SPACING"));
    }

    #[test]
    fn resolution_tags() {
        let tags = |resolution, unit| first_of(None, by_tags(resolution, unit));
        assert_eq!(tags(Some((20_000.0, 40_000.0)), 3).unwrap().y, 0.25);
        assert!((tags(Some((50_800.0, 50_800.0)), 2).unwrap().x - 0.5).abs() < 1e-12);
        assert!(tags(Some((72.0, 72.0)), 2).unwrap_err().contains("which no scanner has"));
        assert!(tags(Some((20_000.0, 20_000.0)), 1).unwrap_err().contains("no unit"));
        assert!(tags(Some((0.0, 0.0)), 3).is_err());
        assert!(tags(None, 3).unwrap_err().contains("no resolution tags"));
    }
}
