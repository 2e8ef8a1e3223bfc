//! What is written is what is opened, and writing never harms what is there.

use std::fs;

use coverslip_bundle::build::{Calibration, LoadResult, write_bundle};
use coverslip_bundle::synthetic::{self, SyntheticSpec};
use coverslip_bundle::{
    Bundle, BundleErrorKind, ComposedGraph, Digest, FORMAT, MANIFEST_FILE, REFERENCE_FILE, ReferenceOutputs, SAE_FILE,
    Sae,
};
use coverslip_testkit::{Fixture, assert_refused, read_tensors};

#[test]
fn a_bundle_says_what_it_is() {
    let fixture = Fixture::new();
    let bundle = fixture.open().unwrap();
    let manifest = bundle.manifest();
    assert_eq!(manifest.format, FORMAT);
    assert_eq!((manifest.side, manifest.mpp), (32, 0.5));
    assert_eq!(manifest.sae_tap(), Some(1));
    assert_eq!(manifest.error_quantile(0.99), Some(10.0));
    assert_eq!(manifest.error_quantile(0.98), None);
    let bytes = fs::read(fixture.dir().join(MANIFEST_FILE)).unwrap();
    assert_eq!(bundle.digest(), Digest::of(&bytes));
    let text = bundle.digest().to_string();
    assert_eq!((text.len(), text.parse::<Digest>().unwrap()), (64, bundle.digest()));
    assert!("abc".parse::<Digest>().is_err());
}

#[test]
fn the_same_recipe_gives_the_same_digest() {
    let digest = |spec: &SyntheticSpec| Fixture::with(spec).open().unwrap().digest();
    let spec = SyntheticSpec::default();
    assert_eq!(digest(&spec), digest(&spec));
    assert_ne!(digest(&spec), digest(&SyntheticSpec { seed: 2, ..spec }));
}

#[test]
fn references_come_back_as_they_were() {
    let fixture = Fixture::new();
    let spec = SyntheticSpec::default();
    let expected = synthetic::tiles(&spec, spec.reference_tiles);
    let reference = fixture.open().unwrap().reference().unwrap();
    assert_eq!(reference.count, 2);
    assert_eq!(reference.tiles, expected);
    assert_eq!(reference.embeddings.iter().map(Vec::len).collect::<Vec<_>>(), [64, 64]);
    assert_eq!(reference.feature_index.len(), 16);
}

#[test]
fn an_opened_bundle_outlives_its_directory() {
    let fixture = Fixture::new();
    let bundle = fixture.open().unwrap();
    let before = bundle.compose().unwrap();
    fs::remove_dir_all(fixture.dir()).unwrap();
    assert_eq!(bundle.compose().unwrap(), before);
    assert_eq!(bundle.reference().unwrap().count, 2);
}

#[test]
fn half_precision_is_half_the_size() {
    let bytes = |half| {
        let fixture = Fixture::with(&SyntheticSpec { half, ..SyntheticSpec::default() });
        let bundle = fixture.open().unwrap();
        (bundle.model_tensors().bytes().len(), bundle.compose().unwrap().onnx.len())
    };
    let (half, single) = (bytes(true), bytes(false));
    assert!(half.0 * 2 < single.0 + 8192, "{half:?} {single:?}");
    assert_eq!(half.1, single.1, "composition is float32 either way");
}

#[test]
fn an_existing_bundle_is_replaced_by_force_alone() {
    let fixture = Fixture::new();
    let before = fixture.open().unwrap().digest();
    let recipe = || synthetic::recipe(&SyntheticSpec { seed: 9, ..SyntheticSpec::default() });
    let refused = write_bundle(&fixture.dir(), recipe(), false, synthetic::zeros);
    assert_refused(refused, BundleErrorKind::Invalid, &["exists", "--force"]);
    assert_eq!(fixture.open().unwrap().digest(), before);
    let written = write_bundle(&fixture.dir(), recipe(), true, synthetic::zeros).unwrap();
    assert_eq!(fixture.open().unwrap().digest(), written.digest());
    assert_eq!(neighbours(&fixture), ["bundle"]);
}

#[test]
fn what_is_no_bundle_is_not_replaced() {
    let scratch = coverslip_testkit::Scratch::new("test");
    let precious = scratch.path().join("thesis");
    fs::create_dir(&precious).unwrap();
    fs::write(precious.join("chapter1.txt"), "text").unwrap();
    let recipe = synthetic::recipe(&SyntheticSpec::default());
    let refused = write_bundle(&precious, recipe, true, synthetic::zeros);
    assert_refused(refused, BundleErrorKind::Invalid, &["no bundle", "not replaced"]);
    assert_eq!(fs::read(precious.join("chapter1.txt")).unwrap(), b"text");
}

#[test]
fn a_failing_engine_leaves_nothing_behind() {
    let fixture = Fixture::new();
    let before = fixture.open().unwrap().digest();
    let recipe = synthetic::recipe(&SyntheticSpec::default());
    let failed = write_bundle(&fixture.dir(), recipe, true, |_| Err("no such operator".into()));
    assert_refused(failed, BundleErrorKind::Invalid, &["engine", "no such operator"]);
    assert_eq!(fixture.open().unwrap().digest(), before);
    assert_eq!(neighbours(&fixture), ["bundle"]);
}

#[test]
fn an_engine_that_returns_nan_is_refused() {
    let fixture = Fixture::new();
    let recipe = synthetic::recipe(&SyntheticSpec::default());
    let failed = write_bundle(&fixture.dir().join("x"), recipe, false, |graph| {
        let mut zeros = synthetic::zeros(graph)?;
        Ok(Box::new(move |tiles, n| {
            Ok(ReferenceOutputs { reconstruction_error: vec![f32::NAN; n], ..zeros(tiles, n)? })
        }))
    });
    assert_refused(failed, BundleErrorKind::NotFinite, &["engine's outputs"]);
}

/// An engine whose embeddings are known: x is the tile's first pixel in every place, ‖x−x̂‖² is 4.
fn first_pixel(graph: ComposedGraph) -> LoadResult {
    let (taps, tile_bytes) = (graph.taps.clone(), graph.side * graph.side * 3);
    let mut zeros = synthetic::zeros(graph)?;
    Ok(Box::new(move |tiles, n| {
        let mut outputs = zeros(tiles, n)?;
        for (tap, embedding) in taps.iter().zip(&mut outputs.embeddings) {
            let pixels = tiles.chunks_exact(tile_bytes).map(|tile| f32::from(tile[0]));
            *embedding = pixels.flat_map(|pixel| vec![pixel; tap.width]).collect();
        }
        outputs.reconstruction_error = vec![4.0; n];
        Ok(outputs)
    }))
}

#[test]
fn calibration_is_computed_where_it_is_not_stated() {
    let scratch = coverslip_testkit::Scratch::new("test");
    let mut recipe = synthetic::recipe(&SyntheticSpec::default());
    let tile_bytes = 32 * 32 * 3;
    let tiles = [10u8, 30].into_iter().flat_map(|value| vec![value; tile_bytes]).collect();
    recipe.calibration = Calibration { tiles, ..Calibration::default() };
    let bundle = write_bundle(&scratch.path().join("b"), recipe, false, first_pixel).unwrap();
    let stored = read_tensors(&scratch.path().join("b").join(REFERENCE_FILE));
    assert_eq!(stored["sae.mean"].view("sae.mean").to_f32().unwrap(), vec![20.0; 32]);
    let reference = &bundle.manifest().sae.reference;
    assert_eq!(reference.mean_square_deviation, 32.0 * 100.0);
    assert_eq!(reference.error_quantiles["0.99"], 4.0 / 3200.0);
    assert_eq!(reference.tiles, 2);
}

#[test]
fn calibration_without_tiles_is_refused() {
    let scratch = coverslip_testkit::Scratch::new("test");
    let mut recipe = synthetic::recipe(&SyntheticSpec::default());
    recipe.calibration.mean = None;
    let refused = write_bundle(&scratch.path().join("b"), recipe, false, synthetic::zeros);
    assert_refused(refused, BundleErrorKind::Missing, &["not stated", "two tiles"]);
    assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0);
}

#[test]
fn a_bundle_without_an_sae_gives_embeddings_alone() {
    let scratch = coverslip_testkit::Scratch::new("test");
    let mut recipe = synthetic::recipe(&SyntheticSpec::default());
    recipe.manifest.sae = Sae::none("last", 32);
    recipe.sae.clear();
    recipe.calibration = Calibration::default();
    let written = write_bundle(&scratch.path().join("b"), recipe.clone(), false, synthetic::zeros).unwrap();
    let bundle = Bundle::open(&scratch.path().join("b")).unwrap();
    assert_eq!(bundle.digest(), written.digest());
    assert!(!bundle.manifest().files.contains_key(SAE_FILE) && !scratch.path().join("b").join(SAE_FILE).exists());
    assert_eq!((bundle.manifest().sae.features(), bundle.manifest().sae.features_per_tile()), (0, 0));
    assert_eq!(bundle.compose().unwrap().taps.len(), bundle.manifest().taps.len());
    recipe.manifest.sae.d_sae = 2;
    let refused = write_bundle(&scratch.path().join("c"), recipe, false, synthetic::zeros);
    assert_refused(refused, BundleErrorKind::Invalid, &["`sae.architecture` is none", "features"]);
}

fn neighbours(fixture: &Fixture) -> Vec<String> {
    let parent = fixture.dir().parent().unwrap().to_owned();
    let names = fs::read_dir(parent).unwrap();
    names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn directory_can_be_given_relative_to_its_parent() {
    // `Bundle::open` must not depend on the working directory once the path is absolute.
    let fixture = Fixture::new();
    let dotted = fixture.dir().join("..").join("bundle");
    assert_eq!(Bundle::open(&dotted).unwrap().digest(), fixture.open().unwrap().digest());
}
