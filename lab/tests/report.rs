//! `coverslip report`: the page is whole, needs nothing from elsewhere, and is true to the numbers.

use std::fs;
use std::path::Path;

use clap::Parser;
use coverslip_lab::cli::report::{Args, run};
use coverslip_testkit::{Drawn, Scratch, draw_tiff};
use ct_codecs::{Base64, Decoder};
use serde_json::json;

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    args: Args,
}

/// Runs `report FOLDER --out FOLDER/report.html`; the page, or what it said instead.
fn report(folder: &Path, title: &str) -> Result<String, String> {
    let out = folder.join("report.html");
    let words =
        ["report".as_ref(), folder.as_os_str(), "--out".as_ref(), out.as_os_str(), "--title".as_ref(), title.as_ref()];
    run(&Command::parse_from(words).args, &mut Vec::new()).map_err(|error| error.to_string())?;
    Ok(fs::read_to_string(out).unwrap())
}

fn write(folder: &Path, name: &str, value: serde_json::Value) {
    fs::write(folder.join(name), value.to_string()).unwrap();
}

fn reported(r: f64) -> serde_json::Value {
    json!({ "r": r, "interval": [r - 0.2, r + 0.1], "q2": 0.3, "chosen": ["12", 9], "folds": 14 })
}

fn counts() -> serde_json::Value {
    let association = json!({
        "column": "12", "cell_type": "plasma <cells>", "pearson": 0.71, "interval": [0.52, 0.83], "spearman": 0.64,
        "spearman_interval": null, "p": 0.004, "tiles_firing": 31, "groups_firing": 9,
    });
    json!({
        "source": { "dataset": "here", "embeddings": "e", "labels": "l", "tap": "last", "bundle": "model", "sae_digest": null,
            "grouped_by": "image" },
        "tiles": 56, "groups": 14, "group_sizes": [4, 4, 4], "least_groups": 3, "permutations": 999, "resamples": 200,
        "cell_types": [{ "name": "plasma <cells>", "mean": 3.5, "sd": 2.0, "min": 0.0, "max": 9.0, "groups_with": 11,
            "between_groups": 0.6 }],
        "representations": [{ "kind": "feature", "columns": 200, "tested": 90, "tested_tiles": 56, "tested_groups": 14,
            "critical": 0.66, "discoveries": 1, "rows": [{ "cell_type": "plasma <cells>", "best": association,
            "one": reported(0.55), "all": reported(-0.12) }] }],
        "features": [association], "shuffled": { "tables": 200, "with_discovery": 8 },
    })
}

fn features(image: &Path) -> serde_json::Value {
    json!({ "dataset": "here", "bundle": "model", "tiles": 56, "groups": 14, "features": [{
        "index": 12, "label": { "index": 12, "label": "plasma cells", "evidence": "r 0.71", "dataset": "here" },
        "tiles_firing": 31, "groups_firing": 9, "range": [0.1, 1.0, 4.0],
        "top": [
            { "value": 4.0, "group": "g", "image": image, "tile": "t1", "place": [8, 8, 16, 16] },
            { "value": 3.0, "group": "g", "image": "gone.png", "tile": "t2", "place": null },
        ] }] })
}

#[test]
fn the_page_has_everything_in_it_and_says_what_was_found() {
    let scratch = Scratch::new("report-whole");
    let folder = scratch.path();
    let image = folder.join("slide.png");
    image::RgbImage::from_pixel(32, 32, image::Rgb([150, 60, 120])).save(&image).unwrap();
    write(folder, "counts.json", counts());
    write(folder, "features.json", features(&image));
    let point = |model: &str, depth: f64| json!({ "model": model, "tap": "t", "depth": depth, "counts": [reported(0.4)], "scanner_accuracy": 0.9, "scanner_chance": 0.5 });
    write(
        folder,
        "depth.json",
        json!({ "dataset": "here", "tiles": 56, "groups": 14, "scanners": [["A", "B"], "slide"],
        "cell_types": ["plasma <cells>"], "points": [point("m", 0.5), point("m", 1.0), point("n", 1.0)] }),
    );
    write(
        folder,
        "sae-eval.json",
        json!({ "embeddings": "e", "tap": "last", "width": 192, "train_tiles": 5221, "held_out_tiles": 1155,
        "held_out_slides": 26, "pca": [[1.0, 0.9]], "saes": [{ "sae": "k<16>", "architecture": "topk", "features": 1536,
            "fvu": 0.421, "l0": 16.0, "dead": 314, "dense": 11, "pca_fvu": 0.587, "histogram": [[-3.0, 0], [-2.5, 370]] }] }),
    );
    let page = report(folder, "A & B").unwrap();

    for expected in [
        "<html lang=\"en\">",
        "<title>A &amp; B</title>",
        "plasma &lt;cells&gt;",
        "0.71 (0.52 to 0.83)",
        "more than chance",
        "31 of 56 tiles, 9 of 14 groups",
        "0.55 (0.35 to 0.65)",
        "\u{2212}0.12",
        "8 of these tables",
        "above 0.66",
        "href=\"#feature-model-12\"",
        "id=\"feature-model-12\"",
        "Feature 12: plasma cells",
        "m: scanner",
        "16.0 of 1536</td><td>0.421</td><td>0.587",
        "0.32\u{2013}1 %",
        "1 of 2 pictures are missing: gone.png: not found",
    ] {
        assert!(page.contains(expected), "expected {expected:?} in the page");
    }
    // Nothing is fetched: no script, no link to elsewhere, pictures inside.
    assert_eq!(page.matches("src=\"").count(), page.matches("src=\"data:image/jpeg;base64,/9j/").count());
    for forbidden in ["<script", "<link", "url(", "href=\"http", "<cells>"] {
        assert!(!page.contains(forbidden), "{forbidden:?} in the page");
    }
    // It is one tree: roxmltree reads all but the doctype's case and the void elements.
    let strict = page.replacen("<!DOCTYPE html>", "", 1).replace("<meta charset=\"utf-8\">", "");
    let strict =
        strict.replace("initial-scale=1\">", "initial-scale=1\"/>").replace("height=\"112\">", "height=\"112\"/>");
    roxmltree::Document::parse(&strict).unwrap();
}

/// The pictures in the page, decoded.
fn pictures(page: &str) -> Vec<image::RgbImage> {
    let starts = page.split("src=\"data:image/jpeg;base64,").skip(1);
    let decode = |rest: &str| {
        let bytes = Base64::decode_to_vec(rest.split('"').next().unwrap(), None).unwrap();
        image::load_from_memory(&bytes).unwrap().into_rgb8()
    };
    starts.map(decode).collect()
}

#[test]
fn a_tile_of_a_file_with_several_scenes_is_cut_out_of_its_own() {
    let scratch = Scratch::new("report-scenes");
    let folder = scratch.path();
    let slide = folder.join("scenes.tif");
    let scene = |colour, width| Drawn { size: (width, 64), colour, ..Drawn::default() };
    draw_tiff(&slide, &[scene([220, 10, 90], 96), scene([80, 10, 220], 128)]);
    let tile = |scene: Option<u32>| {
        let mut tile = json!({ "value": 4.0, "group": "g", "image": slide, "tile": "t", "place": [0, 0, 32, 32] });
        tile["scene"] = json!(scene);
        tile
    };
    let write_tiles = |tiles: [serde_json::Value; 2]| {
        let mut found = features(&slide);
        found["features"][0]["top"] = json!(tiles);
        write(folder, "features.json", found);
    };
    write_tiles([tile(Some(1)), tile(Some(2))]);
    let page = report(folder, "t").unwrap();
    let middles: Vec<[u8; 3]> = pictures(&page).iter().map(|picture| picture.get_pixel(88, 88).0).collect();
    let [first, second] = middles[..] else { panic!("{} pictures", middles.len()) };
    assert!(first[0] > first[2] + 60 && second[2] > second[0] + 60, "{first:?} {second:?}");
    // A file of embeddings from before there was the column.
    write_tiles([tile(Some(1)), tile(None)]);
    let page = report(folder, "t").unwrap();
    assert!(page.contains("1 of 2 pictures are missing") && page.contains("embed again"), "{page}");
}

#[test]
fn findings_that_do_not_fit_together_are_refused_by_name() {
    let scratch = Scratch::new("report-misfits");
    let folder = scratch.path();
    let refused = |name: &str, value: serde_json::Value, expected: &str| {
        write(folder, name, value);
        let found = report(folder, "t").unwrap_err();
        assert!(
            found.contains(&format!("{name}: {expected}")) && found.ends_with("; run the analysis again"),
            "{found}"
        );
        fs::remove_file(folder.join(name)).unwrap();
    };
    let mut few = counts();
    few["representations"][0]["rows"] = json!([]);
    refused("counts.json", few, "representation SAE feature has 0 rows, expected one for each of 1 cell types");
    let mut many = counts();
    many["cell_types"] = json!([many["cell_types"][0], many["cell_types"][0]]);
    refused("counts.json", many, "representation SAE feature has 1 rows, expected one for each of 2 cell types");
    let depth = json!({ "dataset": "here", "tiles": 56, "groups": 14, "scanners": null, "cell_types": [], "points": [{
        "model": "m", "tap": "t", "depth": 1e308, "counts": [], "scanner_accuracy": 0.9, "scanner_chance": 0.5 }] });
    refused("depth.json", depth, "tap t of m has the depth 1e308, expected a share from 0 to 1");
    let sae = json!({ "embeddings": "e", "tap": "last", "width": 192, "train_tiles": 5221, "held_out_tiles": 1155,
        "held_out_slides": 26, "pca": [], "saes": [{ "sae": "k", "architecture": "topk", "features": 1536, "fvu": 0.421,
            "l0": 16.0, "dead": 314, "dense": 11, "pca_fvu": 0.587, "histogram": [[-400.0, 370]] }] });
    refused(
        "sae-eval.json",
        sae,
        "a bin in the histogram of k begins at -4e2, expected log10 of a frequency, -20 to 0",
    );
}

#[test]
fn numbers_that_do_not_exist_are_dashes_and_names_are_text() {
    let scratch = Scratch::new("report-absent");
    let folder = scratch.path();
    let mut found = counts();
    let name = "\u{1b}[31mred\u{202e}gnp";
    for place in ["/cell_types/0/name", "/representations/0/rows/0/cell_type", "/features/0/cell_type"] {
        *found.pointer_mut(place).unwrap() = json!(name);
    }
    for place in ["/cell_types/0/between_groups", "/cell_types/0/sd", "/representations/0/rows/0/one/q2"] {
        *found.pointer_mut(place).unwrap() = json!(null);
    }
    write(folder, "counts.json", found);
    let page = report(folder, "t").unwrap();
    assert!(!page.contains("NaN") && page.contains("<td>3.5</td><td>\u{2013}</td><td>0 to 9</td>"), "{page}");
    assert!(page.contains("\\u{1b}[31mred\\u{202e}gnp"), "{page}");
    assert!(!page.contains(['\u{1b}', '\u{202e}']), "{page}");
}

#[test]
fn folders_without_results_and_files_of_another_kind_are_refused() {
    let scratch = Scratch::new("report-refused");
    let folder = scratch.path();
    assert!(report(folder, "t").unwrap_err().contains("expected one of counts.json"));
    write(folder, "counts.json", json!({ "tiles": 3 }));
    assert!(report(folder, "t").unwrap_err().contains("run the analysis again"));
    assert!(!folder.join("report.html").exists());
}
