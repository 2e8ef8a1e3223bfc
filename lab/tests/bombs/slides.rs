//! Slides that claim sizes, or make a reader take memory or time that their bytes do not have.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use coverslip_testkit::Scratch;
use serde_json::json;

use super::tiff::{ASCII, BYTE, Entry, LONG, SHORT, Tiff, empty_tiles, size};
use super::{assert_done, assert_refused, coverslip, png, text};

/// Images in a file's chain: as many as are read.
const IMAGES: usize = 4096;

/// A bundle of 32 px tiles, and a place for slides.
struct Site {
    scratch: Scratch,
    bundle: PathBuf,
}

impl Site {
    fn new(name: &str) -> Site {
        let scratch = Scratch::new(name);
        let bundle = scratch.join("bundle");
        coverslip_testkit::bundle(&bundle);
        Site { scratch, bundle }
    }

    /// What `scan` and `embed` say of a slide.
    fn said(&self, slide: &Path, more: &[&str]) -> [std::process::Output; 2] {
        let (folder, file) = (self.scratch.join("out"), self.scratch.join("out.safetensors"));
        let run = |command: &str, out: &Path| {
            let arguments = [command, text(slide), "--bundle", text(&self.bundle), "--out", text(out)];
            coverslip(&[&arguments[..], more].concat())
        };
        [run("scan", &folder), run("embed", &file)]
    }

    /// Asserts that `scan` and `embed` refuse a slide in a sentence that has these words.
    #[track_caller]
    fn refuses(&self, slide: &Path, words: &str, more: &[&str]) {
        for output in self.said(slide, more) {
            assert_refused(words, &output);
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(said.contains(words), "expected {words:?}: {said}");
        }
    }
}

/// Each of the images and of their parts names one text: 26 GB of it in 400 kB.
fn one_text(path: &Path) {
    let mut tiff = Tiff::new();
    let description = tiff.text(270, &"t".repeat(100_000));
    let sides = size(64, 64);
    let part = tiff.part(&[sides[0], sides[1], description]);
    let parts = tiff.put(&part.to_le_bytes().repeat(64));
    for _ in 0..IMAGES {
        tiff.image(&[sides[0], sides[1], description, (330, LONG, 64, parts)]);
    }
    tiff.write(path, 0);
}

/// Each directory begins at an entry of the one before, so that 4096 of 4096 tags are 100 kB.
fn overlapping(path: &Path) {
    const BASE: u32 = 8;
    let slot = |slot: u32| {
        let next = BASE + 12 * slot.saturating_sub(IMAGES as u32 - 1);
        [&(IMAGES as u16).to_le_bytes()[..], &next.to_le_bytes(), &[0; 6]].concat()
    };
    let slots: Vec<u8> = (0..2 * IMAGES as u32).flat_map(slot).collect();
    fs::write(path, [&b"II*\0"[..], &BASE.to_le_bytes(), &slots].concat()).unwrap();
}

/// A tag of so many bytes, which are numbers of eight bytes each once they are read. The bytes take no room on the disk.
fn many_numbers(path: &Path, tag: u16, count: u32, sides: [Entry; 2]) {
    let mut tiff = Tiff::new();
    let bits = tiff.put(&[8, 0, 8, 0, 8, 0]);
    let mut entries = sides.to_vec();
    entries.extend([(258, SHORT, 3, bits), (259, SHORT, 1, 1), (262, SHORT, 1, 2), (277, SHORT, 1, 3)]);
    entries.extend([(322, LONG, 1, 16), (323, LONG, 1, 16)]);
    entries.retain(|entry| entry.0 != tag);
    let length = (2 + 12 * (entries.len() + 1) + 4) as u32;
    entries.push((tag, BYTE, count, tiff.end() + length));
    entries.sort_unstable();
    tiff.image(&entries);
    tiff.write(path, u64::from(tiff.end()) + u64::from(count));
}

#[test]
fn what_directories_of_a_tiff_add_up_to_is_bounded() {
    let site = Site::new("bombs-tiff");
    let slide = site.scratch.join("slide.tif");
    one_text(&slide);
    site.refuses(&slide, "bytes of text in all directories", &["--mpp", "0.5"]);
    overlapping(&slide);
    site.refuses(&slide, "tags in all directories", &["--mpp", "0.5"]);
    many_numbers(&slide, 256, 150_000_000, size(64, 64));
    site.refuses(&slide, "no image has a size", &["--mpp", "0.5"]);
    many_numbers(&slide, 324, 100_000_000, size(160_000, 160_000));
    site.refuses(&slide, "at most 16777216 tiles or strips", &["--mpp", "0.5"]);
    many_numbers(&slide, 258, 150_000_000, size(64, 64));
    site.refuses(&slide, "tag 258 has 150000000 values", &["--mpp", "0.5"]);
}

#[test]
fn frames_of_a_plane_that_is_only_claimed_are_not_listed() {
    let site = Site::new("bombs-frames");
    let slide = site.scratch.join("slide.tif");
    empty_tiles(&slide, 4_000_000, 1024, &[]);
    site.refuses(&slide, "at most 4194304 frames", &["--mpp", "0.5"]);
    // One frame as wide as the plane, and one that is the whole of it.
    let strips = site.said(&slide, &["--mpp", "0.5", "--frames", "strips", "--frame-size", "8192"]);
    assert_refused("strips", &strips[0]);
    let [_, whole] = site.said(&slide, &["--field", "tile"]);
    assert_refused("the whole plane as a tile", &whole);
    empty_tiles(&slide, 128, 16, &[]);
    for output in site.said(&slide, &["--mpp", "0.5"]) {
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code().is_some_and(|code| code <= 1) && !said.contains("panic"), "{said}");
    }
}

/// A slide in TIFF with this description, of whose images none has a resolution.
fn described(path: &Path, software: Option<&str>, description: &str, images: usize) {
    let mut tiff = Tiff::new();
    let bits = tiff.put(&[8, 0, 8, 0, 8, 0]);
    let pixels = tiff.put(&[127; 12]);
    let mut entries = size(2, 2).to_vec();
    entries.extend([(258, SHORT, 3, bits), (259, SHORT, 1, 1), (262, SHORT, 1, 2)]);
    let entry = tiff.text(270, description);
    entries.push(entry);
    entries.extend([(273, LONG, 1, pixels), (277, SHORT, 1, 3), (278, LONG, 1, 2), (279, LONG, 1, 12)]);
    if let Some(software) = software {
        let software = tiff.text(305, software);
        entries.push(software);
    }
    tiff.image(&entries);
    entries.retain(|entry| entry.1 != ASCII);
    (1..images).for_each(|_| tiff.image(&entries));
    tiff.write(path, 0);
}

/// The XML says only how large a pixel is: where it cannot be read, the resolution is not known.
#[test]
fn the_xml_of_a_slide_takes_neither_memory_nor_time() {
    let site = Site::new("bombs-xml");
    let slide = site.scratch.join("slide.ome.tif");
    for filler in ["<", "=", "<a/>"] {
        described(&slide, None, &format!("<OME{}", filler.repeat((14 << 20) / filler.len())), 1);
        site.refuses(&slide, "larger than any scanner's", &[]);
    }
    // Every run of planes is all images, and every image is described again.
    let runs = "<TiffData/>".repeat(900_000);
    let ome = format!("<OME><Image><Pixels SizeX=\"2\" SizeY=\"2\">{runs}</Pixels></Image></OME>");
    described(&slide, None, &ome, IMAGES);
    site.refuses(&slide, "the OME-XML has no PhysicalSizeX", &[]);
    let again = "<Pixels SizeX=\"2\" SizeY=\"2\"/>".repeat(900_000);
    described(&slide, None, &format!("<OME>{again}</OME>"), IMAGES);
    site.refuses(&slide, "the OME-XML has no PhysicalSizeX", &[]);
    // Each element is inside the one before.
    let depth = 300_000;
    let nested = "<DataObject Name=\"DICOM_PIXEL_SPACING\">".repeat(depth) + &"</DataObject>".repeat(depth);
    described(&slide, Some("Philips DP v1.0"), &nested, 1);
    site.refuses(&slide, "that is not two plausible lengths", &[]);
}

/// A JPEG of this size with a restart marker behind each unit, of which none has data.
fn markers(side: u16, scans: &[&[u8]], markers: usize) -> Vec<u8> {
    let segment =
        |marker: u8, body: &[u8]| [&[0xff, marker][..], &(body.len() as u16 + 2).to_be_bytes(), body].concat();
    let progressive = scans.len() > 1;
    let side = side.to_be_bytes();
    let frame = [&[8][..], &side, &side, &[3, 1, 0x11, 0, 2, 0x11, 0, 3, 0x11, 0]].concat();
    let mut out = [&[0xff, 0xd8][..], &segment(0xdb, &[&[0][..], &[8; 64]].concat())].concat();
    out.extend(segment(if progressive { 0xc2 } else { 0xc0 }, &frame));
    out.extend(segment(0xdd, &[0, 1]));
    for table in [0x00, 0x10] {
        out.extend(segment(0xc4, &[&[table, 1][..], &[0; 15], &[0]].concat()));
    }
    for scan in scans {
        out.extend(segment(0xda, scan));
        out.extend((0..markers).flat_map(|at| [0xff, 0xd0 | at as u8 & 7]));
    }
    out.extend([0xff, 0xd9]);
    out
}

#[test]
fn restart_markers_of_a_jpeg_take_no_more_than_its_header_allows() {
    let site = Site::new("bombs-jpeg");
    let (slide, folder) = (site.scratch.join("slide.jpg"), site.scratch.join("folder"));
    fs::create_dir(&folder).unwrap();
    let all: &[u8] = &[3, 1, 0, 2, 0, 3, 0, 0, 63, 0];
    let one = |component: u8| [1, component, 0, 0, 0, 0];
    for (bytes, words) in [
        (markers(65_500, &[all], 15_500_000), "at most 65536 x 65536 pixels in 768 MB"),
        (markers(9000, &[&one(1), &one(2), &one(3), &one(1)], 1125 * 1125 - 1), "restart markers"),
    ] {
        fs::write(&slide, &bytes).unwrap();
        site.refuses(&slide, words, &["--mpp", "0.5"]);
        fs::write(folder.join("a.jpg"), &bytes).unwrap();
        site.refuses(&folder, words, &["--mpp", "0.5"]);
    }
}

#[test]
fn pictures_of_a_folder_meet_their_budget_when_it_is_opened() {
    let site = Site::new("bombs-folder");
    let folder = site.scratch.join("folder");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("a.png"), png::claiming(16_000, &[])).unwrap();
    site.refuses(&folder, "its header states 16000 x 16000 px", &["--mpp", "0.5"]);
    // A colour profile of 4 MB that inflates to 600.
    fs::write(folder.join("a.png"), png::claiming(20_000, &png::profile(600 << 20))).unwrap();
    site.refuses(&folder, "its header states 20000 x 20000 px", &["--mpp", "0.5"]);
}

/// The tile of `features.json` is the whole slide, or a part of any size.
#[test]
fn a_report_cuts_no_more_out_of_a_slide_than_a_tile() {
    let site = Site::new("bombs-gallery");
    let folder = site.scratch.path();
    let slide = folder.join("slide.tif");
    empty_tiles(&slide, 30_000, 1024, &[]);
    for place in
        [json!(null), json!([0, 0, 30_000, 30_000]), json!([i64::MAX, 5, i64::MAX, 5]), json!([0, 0, 29_000, 1])]
    {
        let top = json!([{ "value": 4.0, "group": "g", "image": slide, "tile": "t", "place": place }]);
        let feature = json!({ "index": 1, "label": null, "tiles_firing": 1, "groups_firing": 1, "range": [0.1, 1.0, 4.0],
            "top": top });
        let findings = json!({ "dataset": "here", "bundle": "model", "tiles": 5, "groups": 2, "features": [feature] });
        fs::write(folder.join("features.json"), findings.to_string()).unwrap();
        let out = folder.join("report.html");
        assert_done(&place.to_string(), &coverslip(&["report", text(folder), "--out", text(&out)]));
        let page = fs::read_to_string(out).unwrap();
        assert!(page.contains("1 of 1 pictures are missing"), "{place}");
    }
}

/// What the limit itself refuses: nothing.
#[test]
fn an_honest_slide_is_scanned_and_embedded_in_the_same_room() {
    let site = Site::new("bombs-honest");
    let slide = site.scratch.join("slide.png");
    image::RgbImage::from_fn(200, 100, |x, y| image::Rgb([150, (x + y) as u8, 120])).save(&slide).unwrap();
    for output in site.said(&slide, &["--mpp", "0.5"]) {
        assert_done("an honest slide", &output);
    }
    assert!(File::open(site.scratch.join("out/tiles.parquet")).is_ok());
}
