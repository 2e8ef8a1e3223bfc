//! Micrometres per pixel from what a TIFF says about itself.

use super::source::Mpp;

/// The range that the plugin's contract takes.
pub const RANGE: std::ops::RangeInclusive<f64> = 0.01..=100.0;

/// Resolution tags coarser than this come from programs that write a screen's or a printer's resolution.
const COARSEST_FROM_TAGS: f64 = 20.0;

/// The tags that matter.
#[derive(Debug, Default)]
pub(super) struct TiffHints {
    pub(super) description: Option<String>,
    /// Pixels per unit in x and y.
    pub(super) resolution: Option<(f64, f64)>,
    /// 1: none, 2: inch, 3: centimetre.
    pub(super) resolution_unit: u16,
}

/// Which program wrote the file, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flavour {
    Aperio,
    Ome,
    Plain,
}

impl TiffHints {
    pub(super) fn flavour(&self) -> Flavour {
        match self.description.as_deref() {
            Some(text) if text.trim_start().starts_with("Aperio") => Flavour::Aperio,
            Some(text) if text.contains("<OME") => Flavour::Ome,
            _ => Flavour::Plain,
        }
    }

    /// The best source first: the scanner's own words, then OME-XML, then the resolution tags.
    /// Where there is none, why.
    pub(super) fn mpp(&self) -> Result<Mpp, String> {
        let text = self.description.as_deref().unwrap_or("");
        let mut reasons = Vec::new();
        match self.flavour() {
            Flavour::Aperio => match aperio(text) {
                Some(mpp) => return Ok(Mpp { x: mpp, y: mpp, source: "ImageDescription, MPP (Aperio)".into() }),
                None => reasons.push("the Aperio description has no usable MPP".to_owned()),
            },
            Flavour::Ome => match ome(text) {
                Ok((x, y)) => return Ok(Mpp { x, y, source: "OME-XML, PhysicalSizeX and PhysicalSizeY".into() }),
                Err(reason) => reasons.push(reason),
            },
            Flavour::Plain => {}
        }
        match self.resolution_tags_say() {
            Ok((x, y)) => Ok(Mpp { x, y, source: "XResolution and YResolution".into() }),
            Err(reason) => {
                reasons.push(reason);
                Err(reasons.join("; "))
            }
        }
    }

    fn resolution_tags_say(&self) -> Result<(f64, f64), String> {
        let Some((x, y)) = self.resolution else { return Err("no resolution tags".into()) };
        let micrometres = match self.resolution_unit {
            2 => 25_400.0,
            3 => 10_000.0,
            _ => return Err("the resolution tags have no unit".into()),
        };
        let (x, y) = (micrometres / x, micrometres / y);
        let usable = |mpp: f64| RANGE.contains(&mpp) && mpp <= COARSEST_FROM_TAGS;
        if usable(x) && usable(y) {
            Ok((x, y))
        } else {
            Err(format!("the resolution tags say {x:.1} x {y:.1} um/px, which no scanner has"))
        }
    }
}

/// `... |MPP = 0.4990|...` in Aperio's description.
fn aperio(text: &str) -> Option<f64> {
    text.split('|').find_map(|field| {
        let (key, value) = field.split_once('=')?;
        let mpp: f64 = value.trim().parse().ok()?;
        (key.trim().eq_ignore_ascii_case("MPP") && RANGE.contains(&mpp)).then_some(mpp)
    })
}

/// PhysicalSizeX and PhysicalSizeY, with their units, of the first Pixels element.
fn ome(text: &str) -> Result<(f64, f64), String> {
    let document = roxmltree::Document::parse(text.trim_matches('\0'))
        .map_err(|error| format!("the OME-XML is damaged: {error}"))?;
    let pixels = document
        .descendants()
        .find(|node| node.tag_name().name() == "Pixels")
        .ok_or("the OME-XML has no Pixels element")?;
    let size = |axis: &str| {
        let name = format!("PhysicalSize{axis}");
        let value = pixels.attribute(name.as_str()).ok_or(format!("the OME-XML has no {name}"))?;
        let unit = pixels.attribute(format!("{name}Unit").as_str()).unwrap_or("µm");
        let value: f64 = value.parse().map_err(|_| format!("the OME-XML has {name}=\"{value}\", not a number"))?;
        let mpp = value * micrometres(unit).ok_or(format!("the OME-XML gives {name} in \"{unit}\", not a length"))?;
        if RANGE.contains(&mpp) { Ok(mpp) } else { Err(format!("the OME-XML gives {name} as {mpp} um")) }
    };
    let x = size("X")?;
    Ok((x, size("Y").unwrap_or(x)))
}

/// OME's UnitsLength in micrometres; both micro signs of Unicode are in use.
fn micrometres(unit: &str) -> Option<f64> {
    Some(match unit {
        "µm" | "μm" | "um" => 1.0,
        "nm" => 1e-3,
        "Å" => 1e-4,
        "mm" => 1e3,
        "cm" => 1e4,
        "m" => 1e6,
        "in" => 25_400.0,
        "mil" | "thou" => 25.4,
        "pt" => 25_400.0 / 72.0,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hints(description: &str) -> TiffHints {
        TiffHints { description: Some(description.into()), ..TiffHints::default() }
    }

    #[test]
    fn aperio_descriptions() {
        let text = "Aperio Image Library v11.2.1 \r\n46000x32914 JPEG/RGB Q=30|AppMag = 20|MPP = 0.4990|Left = 25.69";
        let mpp = hints(text).mpp().unwrap();
        assert_eq!((mpp.x, mpp.y), (0.499, 0.499));
        assert!(mpp.source.contains("Aperio"));
        let reason = hints("Aperio Image Library|AppMag = 20|MPP = 0").mpp().unwrap_err();
        assert_eq!(reason, "the Aperio description has no usable MPP; no resolution tags");
    }

    #[test]
    fn ome_units() {
        let ome = |attributes: &str| hints(&format!("<?xml version=\"1.0\"?><OME><Pixels {attributes}/></OME>")).mpp();
        let mpp = ome("PhysicalSizeX=\"0.5\" PhysicalSizeXUnit=\"µm\" PhysicalSizeY=\"0.25\"").unwrap();
        assert_eq!((mpp.x, mpp.y), (0.5, 0.25));
        let mpp = ome("PhysicalSizeX=\"250\" PhysicalSizeXUnit=\"nm\"").unwrap();
        assert_eq!((mpp.x, mpp.y), (0.25, 0.25), "one size serves both axes");
        let mpp =
            ome("PhysicalSizeX=\"0.0005\" PhysicalSizeXUnit=\"mm\" PhysicalSizeY=\"500\" PhysicalSizeYUnit=\"nm\"");
        assert_eq!((mpp.clone().unwrap().x, mpp.unwrap().y), (0.5, 0.5));
        let reason = ome("PhysicalSizeX=\"1\" PhysicalSizeXUnit=\"pixel\"").unwrap_err();
        assert!(reason.starts_with("the OME-XML gives PhysicalSizeX in \"pixel\", not a length"), "{reason}");
        assert!(ome("SizeX=\"5\"").unwrap_err().contains("no PhysicalSizeX"));
        assert!(hints("<OME><Pixels").mpp().unwrap_err().contains("damaged"));
    }

    #[test]
    fn resolution_tags() {
        let tags = |resolution, resolution_unit| TiffHints { description: None, resolution, resolution_unit }.mpp();
        assert_eq!(tags(Some((20_000.0, 40_000.0)), 3).unwrap().y, 0.25);
        assert!((tags(Some((50_800.0, 50_800.0)), 2).unwrap().x - 0.5).abs() < 1e-12);
        assert!(tags(Some((72.0, 72.0)), 2).unwrap_err().contains("which no scanner has"));
        assert!(tags(Some((20_000.0, 20_000.0)), 1).unwrap_err().contains("no unit"));
        assert!(tags(Some((0.0, 0.0)), 3).is_err());
        assert!(tags(None, 3).unwrap_err().contains("no resolution tags"));
    }
}
