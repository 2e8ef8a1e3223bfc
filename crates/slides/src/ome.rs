//! OME-XML: which images a file has, where each begins, and how large its pixels are.

use super::description::Size;
use super::mpp::RANGE;
use super::xml;

/// One Image element.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct OmeImage {
    /// "label", "macro" or the like, by its name. The name itself is not kept: it may be a patient's.
    pub(super) role: Option<&'static str>,
    pub(super) size: Option<Size>,
    /// Directories of its planes in this file, first plane first: the first of each run and their number.
    pub(super) planes: Vec<(usize, usize)>,
    pub(super) mpp: Result<(f64, f64), String>,
}

/// The images, in the order of the text.
///
/// # Errors
/// Where the text is damaged or has no Pixels element.
pub(super) fn images(text: &str) -> Result<Vec<OmeImage>, String> {
    xml::look(text, "the OME-XML", |document| {
        let all = document.descendants().filter(|node| node.tag_name().name() == "Pixels");
        let images: Vec<OmeImage> = all.map(image).collect();
        if images.is_empty() { Err("the OME-XML has no Pixels element".into()) } else { Ok(images) }
    })
}

fn image(pixels: roxmltree::Node<'_, '_>) -> OmeImage {
    let number = |node: roxmltree::Node<'_, '_>, name| node.attribute(name).and_then(|text| text.parse().ok());
    let side = |name| pixels.attribute(name).and_then(|text| text.parse().ok());
    let size = side("SizeX").zip(side("SizeY")).map(|(width, height)| Size { width, height });
    let name = pixels.parent().and_then(|image| image.attribute("Name")).unwrap_or_default().to_ascii_lowercase();
    // Planes of other files of the set have their own name and no place here.
    let runs = pixels.children().filter(|node| node.tag_name().name() == "TiffData");
    let planes = runs.map(|run| {
        let first = number(run, "IFD");
        (first.unwrap_or(0), number(run, "PlaneCount").unwrap_or(if first.is_some() { 1 } else { usize::MAX }))
    });
    OmeImage { role: role(&name), size, planes: planes.collect(), mpp: mpp(pixels) }
}

fn role(name: &str) -> Option<&'static str> {
    let known = [("label", "label"), ("macro", "macro"), ("thumbnail", "thumbnail"), ("overview", "overview")];
    let words = || name.split(|c: char| !c.is_alphanumeric());
    known.into_iter().find(|(word, _)| words().any(|part| part == *word)).map(|(_, role)| role)
}

/// PhysicalSizeX and PhysicalSizeY with their units, in micrometres.
fn mpp(pixels: roxmltree::Node<'_, '_>) -> Result<(f64, f64), String> {
    let size = |axis: &str| {
        let name = format!("PhysicalSize{axis}");
        let value = pixels.attribute(name.as_str()).ok_or(format!("the OME-XML has no {name}"))?;
        let unit = pixels.attribute(format!("{name}Unit").as_str()).unwrap_or("µm");
        let value: f64 = value.parse().map_err(|_| format!("the OME-XML has a {name} that is not a number"))?;
        let unit = micrometres(unit).map_err(|unit| format!("the OME-XML gives {name} in {unit}, not a length"))?;
        let mpp = value * unit;
        if RANGE.contains(&mpp) { Ok(mpp) } else { Err(format!("the OME-XML gives {name} as {mpp} um")) }
    };
    let x = size("X")?;
    Ok((x, size("Y").unwrap_or(x)))
}

/// OME's UnitsLength in micrometres. Files use both of Unicode's micro signs.
fn micrometres(unit: &str) -> Result<f64, &'static str> {
    Ok(match unit {
        "µm" | "μm" | "um" => 1.0,
        "nm" => 1e-3,
        "Å" => 1e-4,
        "mm" => 1e3,
        "cm" => 1e4,
        "m" => 1e6,
        "in" => 25_400.0,
        "mil" | "thou" => 25.4,
        "pt" => 25_400.0 / 72.0,
        "pixel" => return Err("\"pixel\""),
        "reference frame" => return Err("\"reference frame\""),
        _ => return Err("an unknown unit"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units() {
        let ome = |attributes: &str| {
            let all = images(&format!("<?xml version=\"1.0\"?><OME><Pixels {attributes}/></OME>")).unwrap();
            all[0].mpp.clone()
        };
        let mpp = ome("PhysicalSizeX=\"0.5\" PhysicalSizeXUnit=\"µm\" PhysicalSizeY=\"0.25\"").unwrap();
        assert_eq!(mpp, (0.5, 0.25));
        let mpp = ome("PhysicalSizeX=\"250\" PhysicalSizeXUnit=\"nm\"").unwrap();
        assert_eq!(mpp, (0.25, 0.25), "one size serves both axes");
        let mpp =
            ome("PhysicalSizeX=\"0.0005\" PhysicalSizeXUnit=\"mm\" PhysicalSizeY=\"500\" PhysicalSizeYUnit=\"nm\"");
        assert_eq!(mpp.unwrap(), (0.5, 0.5));
        let reason = ome("PhysicalSizeX=\"1\" PhysicalSizeXUnit=\"pixel\"").unwrap_err();
        assert!(reason.starts_with("the OME-XML gives PhysicalSizeX in \"pixel\", not a length"), "{reason}");
        let reason = ome("PhysicalSizeX=\"1\" PhysicalSizeXUnit=\"Jane Doe\"").unwrap_err();
        assert!(reason.contains("in an unknown unit"), "{reason}");
        assert!(ome("SizeX=\"5\"").unwrap_err().contains("no PhysicalSizeX"));
        assert!(images("<OME><Pixels").unwrap_err().contains("damaged"));
        assert!(images("<OME/>").unwrap_err().contains("no Pixels element"));
    }

    #[test]
    fn places_and_roles() {
        let all = images(
            "<OME><Image Name='Label image'><Pixels SizeX='5' SizeY='6'><TiffData IFD='2'/></Pixels></Image>\
             <Image Name='labelled'><Pixels><TiffData IFD='3' PlaneCount='4'/><TiffData/></Pixels></Image></OME>",
        );
        let all = all.unwrap();
        assert_eq!((all[0].role, all[0].size), (Some("label"), Some(Size { width: 5, height: 6 })));
        assert_eq!((all[1].role, all[1].size), (None, None));
        assert_eq!((&all[0].planes, &all[1].planes), (&vec![(2, 1)], &vec![(3, 4), (0, usize::MAX)]));
    }
}
