//! Formats that are not read here are named, and a container's preview is not its slide.

use super::drawn::{Drawn, Value, deflate, jpeg, write};
use super::*;

/// A scanner's container is named, with the one command that helps or with OpenSlide's own words.
fn named(path: &Path, format: &str) {
    let own = Selection { reader: Some(ReaderKind::Own), ..Selection::default() };
    for selection in [own, Selection::default()] {
        let error = open(path, &selection).map(|_| ()).expect_err(format).0;
        assert!(error.contains(&format!("found {format}, which is not read")), "{error}");
        let helped = ["pip install openslide-bin", "OpenSlide ", "bfconvert"].iter().any(|word| error.contains(word));
        // With OpenSlide here and this crate's reader forced, there is nothing to add.
        assert!(helped || selection.reader.is_some(), "{error}");
    }
}

#[test]
fn previews_of_containers_are_not_slides() {
    let folder = Temporary::new("containers");
    fs::create_dir_all(folder.0.join("case1")).unwrap();
    fs::create_dir_all(folder.0.join("_case2_/stack1")).unwrap();
    let at = |name: &str| folder.0.join(name);
    let preview = jpeg(&pixels(ALL), WIDTH, HEIGHT);
    fs::write(at("case1/Slidedat.ini"), "[GENERAL]").unwrap();
    fs::write(at("case1.mrxs"), &preview).unwrap();
    named(&at("case1.mrxs"), "3DHISTECH MRXS");
    fs::write(at("alone.mrxs"), &preview).unwrap();
    named(&at("alone.mrxs"), "3DHISTECH MRXS");
    // What lies beside a file says more than its name.
    fs::rename(at("case1.mrxs"), at("case1.jpg")).unwrap();
    named(&at("case1.jpg"), "3DHISTECH MRXS");
    fs::write(at("_case2_/stack1/frame_t.ets"), "SIS").unwrap();
    write(&at("case2.vsi"), &[Drawn::strips(WIDTH, HEIGHT, 30)]);
    named(&at("case2.vsi"), "Olympus VSI");
    fs::rename(at("case2.vsi"), at("case2.tif")).unwrap();
    named(&at("case2.tif"), "Olympus VSI");
    write(&at("slide.bif"), &[Drawn::strips(WIDTH, HEIGHT, 30)]);
    named(&at("slide.bif"), "Ventana BIF");
    let xml = Value::Text("<EncodeInfo><iScan Magnification='40'/></EncodeInfo>".into());
    write(&at("ventana.tif"), &[Drawn::strips(60, 50, 8), Drawn::jpeg(WIDTH, HEIGHT).with(700, xml)]);
    named(&at("ventana.tif"), "Ventana BIF");
    let leica = "<scn xmlns=\"http://www.leica-microsystems.com/scn/2010/10/01\"/>";
    write(&at("leica.tif"), &[Drawn::jpeg(WIDTH, HEIGHT).described(leica)]);
    named(&at("leica.tif"), "Leica SCN");
    let mut dicom = vec![0; 128];
    dicom.extend(b"DICM");
    fs::write(at("a.dcm"), dicom).unwrap();
    named(&at("a.dcm"), "DICOM");
    fs::write(at("a.vms"), "[Virtual Microscope Specimen]\nNoLayers=1").unwrap();
    named(&at("a.vms"), "Hamamatsu VMS or VMU");
}

#[test]
fn ndpi_is_named_whatever_its_length() {
    let file = Temporary::new("small.ndpi.tif");
    write(&file.0, &[Drawn::jpeg(WIDTH, HEIGHT).with(65420, Value::Long(vec![1]))]);
    named(&file.0, "Hamamatsu NDPI");
    // The first directory lies behind 4 GiB. A file system without holes would need the room.
    let long = Temporary::new("long.ndpi.tif");
    let place = (1_u64 << 32) + 5000;
    let head = [b"II*\0".to_vec(), place.to_le_bytes().to_vec()].concat();
    fs::write(&long.0, head).unwrap();
    let mut writer = fs::OpenOptions::new().write(true).open(&long.0).unwrap();
    let entry =
        [&65420_u16.to_le_bytes()[..], &4_u16.to_le_bytes(), &1_u32.to_le_bytes(), &1_u32.to_le_bytes()].concat();
    let directory = [&1_u16.to_le_bytes()[..], &entry, &[0; 8]].concat();
    std::io::Seek::seek(&mut writer, std::io::SeekFrom::Start(place)).unwrap();
    std::io::Write::write_all(&mut writer, &directory).unwrap();
    drop(writer);
    named(&long.0, "Hamamatsu NDPI");
}

#[cfg(unix)]
#[test]
fn a_pipe_is_refused_at_once() {
    let pipe = Temporary::new("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe.0).status();
    if !made.is_ok_and(|status| status.success()) {
        let _ = std::io::Write::write_all(&mut std::io::stderr(), b"skipped: there is no mkfifo here\n");
        return;
    }
    assert!(refusal(&pipe.0).contains("found a pipe, a socket or a device"), "{}", refusal(&pipe.0));
}

/// What both readers read, they read alike. OpenSlide's JPEG decoder has another inverse transform and enlarges chroma in
/// another way; a difference of a few levels of 255 is that, a shift by a pixel or swapped channels would be more.
#[test]
fn openslide_reads_the_same_pixels() {
    let found = match crate::find_openslide() {
        Ok(found) => found,
        Err(why) => {
            let _ = std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("skipped: {why}\n"));
            return;
        }
    };
    let aperio = "Aperio Image Library v12\r\n130x90 (48x48) JPEG/RGB Q=95|AppMag = 40|MPP = 0.25";
    let packed = Drawn::tiles(WIDTH, HEIGHT, 8, deflate).resolution(40_000);
    for (name, drawn, tolerance) in
        [("both.svs", Drawn::jpeg(WIDTH, HEIGHT).described(aperio), 4.0), ("both.tif", packed, 0.0)]
    {
        let file = Temporary::new(name);
        write(&file.0, &[drawn]);
        let both = [ReaderKind::Own, ReaderKind::OpenSlide].map(|reader| {
            let mut slide = open(&file.0, &Selection { reader: Some(reader), scene: None }).unwrap();
            let mut out = Vec::new();
            assert_eq!(slide.read(PART, &mut out).unwrap(), Scanned::All, "{name}");
            (slide.info().clone(), out)
        });
        let [(own, pixels), (other, others)] = both;
        assert_eq!((other.reader.name.as_str(), &other.reader.version), ("OpenSlide", &found.version));
        assert_eq!((own.width, own.height), (other.width, other.height));
        // OpenSlide 3 has no resolution of plain TIFFs.
        if let Some(other_mpp) = other.mpp {
            let own_mpp = own.mpp.unwrap();
            assert!((own_mpp.x - other_mpp.x).abs() < 1e-9 && (own_mpp.y - other_mpp.y).abs() < 1e-9);
        }
        let gaps = pixels.iter().zip(&others).map(|(a, b)| f64::from(a.abs_diff(*b)));
        let mean = gaps.clone().sum::<f64>() / pixels.len() as f64;
        let worst = gaps.fold(0.0, f64::max);
        assert!(worst <= 3.0 * tolerance && mean <= tolerance / 4.0, "{name}: mean {mean}, worst {worst}");
    }
    // OpenSlide's own words come back as an error.
    let file = Temporary::new("broken.svs");
    let mut broken = Drawn::jpeg(WIDTH, HEIGHT).described(aperio);
    broken.chunks[0] = vec![1; 50];
    write(&file.0, &[broken]);
    let selection = Selection { reader: Some(ReaderKind::OpenSlide), scene: None };
    let mut slide = open(&file.0, &selection).unwrap();
    let error = slide.read(ALL, &mut Vec::new()).unwrap_err().0;
    assert!(error.contains(&format!("OpenSlide {}", found.version)), "{error}");
}
