//! What the runner makes of graphs.

use coverslip_bundle::Sae;
use coverslip_bundle::build::{Calibration, write_bundle};
use coverslip_bundle::onnx::operators::SUPPORTED_OPERATORS;
use coverslip_bundle::synthetic::{SyntheticSpec, recipe};
use coverslip_runner::load;
use coverslip_testkit::Scratch;
use rten::ModelOptions;

#[test]
fn without_an_sae_the_graph_says_that_nothing_is_active() {
    let mut recipe = recipe(&SyntheticSpec::default());
    recipe.manifest.sae = Sae::none("last", 32);
    recipe.sae.clear();
    recipe.calibration = Calibration::default();
    let scratch = Scratch::new("no-sae");
    let bundle = write_bundle(&scratch.join("bundle"), recipe, true, load).unwrap();
    let reference = bundle.reference().unwrap();
    assert!(reference.embeddings.iter().flatten().any(|value| *value != 0.0));
    assert!(reference.active_count.iter().chain(&reference.feature_index).all(|count| *count == 0));
    assert!(reference.feature_value.iter().chain(&reference.reconstruction_error).all(|value| *value == 0.0));
}

fn field(number: u8, content: &[u8]) -> Vec<u8> {
    [&[number << 3 | 2, u8::try_from(content.len()).unwrap()], content].concat()
}

/// What rten says of a graph of one node.
fn load_error(op: &str) -> String {
    let node = [field(1, b"x"), field(2, b"y"), field(4, op.as_bytes())].concat();
    let graph = [field(1, &node), field(11, &field(1, b"x")), field(12, &field(1, b"y"))].concat();
    let opset = [field(1, b""), vec![2 << 3, 20]].concat();
    let model = [vec![1 << 3, 9], field(7, &graph), field(8, &opset)].concat();
    ModelOptions::with_all_ops().load(model).err().map(|error| error.to_string()).unwrap_or_default()
}

#[test]
fn the_engine_has_every_operator_that_importers_let_through() {
    // Attributes are missing, which is another complaint than a missing operator.
    let unknown = |op: &str| {
        let error = load_error(op);
        error.contains("not supported") || error.contains("not enabled") || error.contains("not available")
    };
    assert!(unknown("Magic"), "{}", load_error("Magic"));
    assert!(unknown("RandomNormal"), "{}", load_error("RandomNormal"));
    let missing: Vec<_> = SUPPORTED_OPERATORS.iter().filter(|op| unknown(op)).collect();
    assert!(missing.is_empty(), "{missing:?}");
    assert!(SUPPORTED_OPERATORS.is_sorted(), "searched by halves");
}
