//! Which image of a file is read, at which resolution, and what is said of the others.

use super::drawn::{Drawn, Value, write};
use super::*;

const APERIO: &str = "Aperio Image Library v12\r\n130x90 (48x48) JPEG/RGB Q=95|AppMag = 40|MPP = 0.25";

fn file(name: &str, images: &[Drawn]) -> Temporary {
    let file = Temporary::new(name);
    write(&file.0, images);
    file
}

fn opened(file: &Temporary) -> Box<dyn SlideSource> {
    open(&file.0, &Selection::default()).unwrap()
}

fn scene(file: &Temporary, number: u32) -> Result<Box<dyn SlideSource>, SourceError> {
    open(&file.0, &Selection { scene: Some(number), ..Selection::default() })
}

fn size(slide: &dyn SlideSource) -> (u32, u32) {
    (slide.info().width, slide.info().height)
}

fn roles(slide: &dyn SlideSource) -> Vec<(&str, u32)> {
    slide.info().associated.iter().map(|image| (image.role.as_str(), image.size.width)).collect()
}

#[test]
fn a_macro_picture_is_not_the_slide_even_when_it_is_larger() {
    let strips = |width, height| Drawn::strips(width, height, 16);
    let file = file(
        "macro.svs",
        &[
            Drawn::jpeg(WIDTH, HEIGHT).described(APERIO),
            strips(43, 30).described(APERIO),
            Drawn::jpeg(WIDTH / 2, HEIGHT / 2).described(APERIO),
            strips(90, 70).with(254, Value::Long(vec![1])).described("Aperio Image Library v12\r\nlabel 90x70"),
            strips(400, 150).with(254, Value::Long(vec![9])).described("Aperio Image Library v12\r\nmacro 400x150"),
        ],
    );
    let slide = opened(&file);
    assert_eq!(size(slide.as_ref()), (WIDTH, HEIGHT));
    assert_eq!(roles(slide.as_ref()), [("thumbnail", 43), ("label", 90), ("macro", 400)]);
    let info = slide.info();
    assert_eq!(info.levels.iter().map(|level| level.width).collect::<Vec<_>>(), [130, 65]);
    assert_eq!((info.image.as_deref(), info.scenes.len()), (Some("image 1 of 5"), 0));
    assert_eq!(info.mpp.as_ref().unwrap().x, 0.25);
    assert!(info.beside().contains(&"macro (400 x 150 px)".to_owned()), "{:?}", info.beside());
}

fn ome(images: &[(&str, u32, u32, &str)]) -> String {
    let one = |(ifd, (name, width, height, mpp)): (usize, &(&str, u32, u32, &str))| {
        format!(
            "<Image Name=\"{name}\"><Pixels SizeX=\"{width}\" SizeY=\"{height}\" {mpp}><TiffData IFD=\"{ifd}\"/>\
             </Pixels></Image>"
        )
    };
    format!("<?xml version=\"1.0\"?><OME>{}</OME>", images.iter().enumerate().map(one).collect::<String>())
}

#[test]
fn the_resolution_is_that_of_the_image_that_is_read() {
    let xml = ome(&[
        ("overview", 40, 30, "PhysicalSizeX=\"0.55\""),
        ("40x", WIDTH, HEIGHT, "PhysicalSizeX=\"0.25\" PhysicalSizeY=\"0.26\""),
    ]);
    let images = [Drawn::strips(40, 30, 8).described(&xml), Drawn::jpeg(WIDTH, HEIGHT)];
    let slide = opened(&file("overview.ome.tif", &images));
    let mpp = slide.info().mpp.clone().unwrap();
    assert_eq!((mpp.x, mpp.y), (0.25, 0.26));
    assert_eq!(roles(slide.as_ref()), [("overview", 40)]);

    // The XML describes other images than there are: nothing says which resolution is this one's.
    let xml = ome(&[("a", 41, 30, "PhysicalSizeX=\"0.55\""), ("b", WIDTH, 91, "PhysicalSizeX=\"0.25\"")]);
    let images = [Drawn::strips(40, 30, 8).described(&xml), Drawn::jpeg(WIDTH, HEIGHT)];
    let slide = opened(&file("foreign.ome.tif", &images));
    assert_eq!(slide.info().mpp, None);
    let missing = slide.info().mpp_missing.clone().unwrap();
    assert!(missing.contains("describes no image of 130 x 90 px at this place"), "{missing}");
}

#[test]
fn scenes_are_named_by_number_and_can_be_chosen() {
    let xml = ome(&[
        ("Jane Doe", 100, 80, "PhysicalSizeX=\"0.5\""),
        ("label", 60, 50, ""),
        ("John Doe", WIDTH, HEIGHT, "PhysicalSizeX=\"0.25\""),
    ]);
    let images =
        [Drawn::strips(100, 80, 8).described(&xml), Drawn::strips(60, 50, 8), Drawn::strips(WIDTH, HEIGHT, 30)];
    let file = file("scenes.ome.tif", &images);
    let slide = opened(&file);
    let numbers: Vec<_> =
        slide.info().scenes.iter().map(|scene| (scene.number, scene.size.width, scene.chosen)).collect();
    assert_eq!(numbers, [(1, 100, false), (2, WIDTH, true)]);
    assert_eq!(slide.info().beside(), ["scene 1 (100 x 80 px)", "label (60 x 50 px)"]);
    let first = scene(&file, 1).unwrap();
    assert_eq!((size(first.as_ref()), first.info().mpp.as_ref().unwrap().x), ((100, 80), 0.5));
    let refused = scene(&file, 3).map(|_| ()).unwrap_err().0;
    assert!(refused.contains("expected one of the file's scenes, 1 (100 x 80 px), 2 (130 x 90 px)"), "{refused}");

    let plain = self::file("plain.tif", &[Drawn::strips(WIDTH, HEIGHT, 30)]);
    assert!(scene(&plain, 1).is_ok());
    assert!(
        scene(&plain, 2)
            .map(|_| ())
            .unwrap_err()
            .0
            .contains("--scene 2: expected one of the file's scenes, 1 (130 x 90 px)")
    );
}

#[test]
fn philips_states_rows_then_columns() {
    let xml = "<?xml version=\"1.0\"?><DataObject ObjectType=\"DPUfsImport\"><Attribute Name=\"DICOM_PIXEL_SPACING\">\
               &quot;0.00025&quot; &quot;0.0005&quot;</Attribute></DataObject>";
    let software = |drawn: Drawn| drawn.with(305, Value::Text("Philips DP v1.0".into()));
    let images = [
        software(Drawn::jpeg(WIDTH, HEIGHT)).described(xml),
        Drawn::jpeg(65, 45),
        Drawn::strips(300, 200, 8).described("Macro"),
        Drawn::strips(200, 200, 8).described("Label"),
    ];
    let slide = opened(&file("philips.tiff", &images));
    let mpp = slide.info().mpp.clone().unwrap();
    assert_eq!((mpp.x, mpp.y, size(slide.as_ref())), (0.5, 0.25, (WIDTH, HEIGHT)));
    assert!(slide.info().kind.starts_with("Philips TIFF"), "{}", slide.info().kind);
    assert_eq!(roles(slide.as_ref()), [("macro", 300), ("label", 200)]);
}

#[test]
fn a_plain_pyramid_is_one_scene() {
    let images = [Drawn::jpeg(WIDTH, HEIGHT), Drawn::jpeg(65, 45), Drawn::jpeg(33, 23)];
    let slide = opened(&file("pyramid.tif", &images));
    assert_eq!((slide.info().levels.len(), slide.info().scenes.len()), (3, 0));
    let images = [Drawn::strips(300, 40, 8), Drawn::jpeg(WIDTH, HEIGHT)];
    let slide = opened(&file("two.tif", &images));
    assert_eq!(slide.info().scenes.len(), 2, "nothing says that one is a copy of the other");
}

/// No text of a file is in the description of its slide, whatever tag it stands in, nor in the reason why a resolution is
/// missing.
#[test]
fn what_a_file_says_of_a_patient_stays_there() {
    const NAME: &str = "Doe^Jane 1931";
    let planted = |mut drawn: Drawn| {
        for tag in [269, 271, 272, 285, 305, 306, 315, 316, 33432, 37510, 65000] {
            drawn = drawn.with(tag, Value::Text(NAME.into()));
        }
        drawn
    };
    let commented = |drawn: Drawn| Drawn {
        chunks: drawn
            .chunks
            .iter()
            .map(|jpeg| [&jpeg[..2], &[0xff, 0xfe, 0, 15], NAME.as_bytes(), &jpeg[2..]].concat())
            .collect(),
        ..drawn
    };
    let texts = [
        format!("Aperio {NAME}\r\n130x90|Filename = {NAME}|Barcode = {NAME}|MPP = {NAME}"),
        format!(
            "<OME><Image Name=\"{NAME}\"><Description>{NAME}</Description><Pixels PhysicalSizeX=\"{NAME}\"/></Image></OME>"
        ),
        format!("<OME><Pixels PhysicalSizeX=\"1\" PhysicalSizeXUnit=\"{NAME}\"/></OME>"),
        format!("<OME><{NAME}></OME>"),
        format!("label of {NAME}"),
        NAME.to_owned(),
    ];
    for (index, text) in texts.iter().enumerate() {
        let label = planted(Drawn::strips(70, 60, 8)).described(&format!("Aperio\r\nlabel {NAME}"));
        let images = [planted(commented(Drawn::jpeg(WIDTH, HEIGHT))).described(text), label];
        let file = file(&format!("planted-{index}.tif"), &images);
        let mut slide = opened(&file);
        let said = serde_json::to_string(slide.info()).unwrap() + &slide.info().beside().join(" ");
        slide.read(PART, &mut Vec::new()).unwrap();
        // The errors that a user sees.
        let refused = [scene(&file, 9).map(|_| ()).unwrap_err().0, {
            let grey = images[0].clone().with(262, Value::Short(vec![1]));
            refusal(&self::file("planted-grey.tif", &[grey]).0)
        }];
        for word in ["Doe", "Jane", "1931"] {
            assert!(!said.contains(word), "{text}: {said}");
            assert!(!refused.concat().contains(word), "{refused:?}");
        }
    }
}
