//! Labels of features, written by the lab, reach the host.

mod support {
    pub(crate) mod host;
}

use std::ffi::{CStr, c_char};
use std::path::PathBuf;

use coverslip_bundle::build::relabel;
use coverslip_bundle::{FeatureLabel, LabelTest};
use coverslip_plugin_abi::{AbiStruct, FeatureInfo};
use support::host::{TestRuntime, call, open};

fn feature(runtime: &TestRuntime, index: u32) -> FeatureInfo {
    let mut info = FeatureInfo::init();
    // SAFETY: all pointers are to live structs.
    call(|error| unsafe { (runtime.api.feature_info)(runtime.handle, index, &mut info, error) }).expect("a feature");
    info
}

fn text(field: &[c_char]) -> String {
    // SAFETY: the library terminates every text with NUL.
    unsafe { CStr::from_ptr(field.as_ptr()) }.to_string_lossy().into_owned()
}

#[test]
fn the_host_gets_the_labels_in_the_bundle() {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("features");
    coverslip_testkit::bundle(&folder);
    let before = open(&folder);
    let digest = before.info().bundle_digest;
    let measured = FeatureLabel {
        index: 3,
        label: "lymphocytes".into(),
        evidence: "Pearson's r 0.71 [0.52, 0.83]".into(),
        cell_type: "inflammatory".into(),
        correlation: Some(0.71),
        tiles: Some(56),
        dataset: "CoNSeP".into(),
        tested: Some(LabelTest { partial_correlation: Some(0.62), p_value: 0.003, groups: 14 }),
    };
    let uncoloured = LabelTest { partial_correlation: None, p_value: 1.0, groups: 1 };
    let plain = FeatureLabel { index: 2, label: "mitoses".into(), tested: Some(uncoloured), ..FeatureLabel::default() };
    let named = FeatureLabel { index: 1, label: "n".repeat(200), ..FeatureLabel::default() };
    relabel(&folder, &folder, vec![measured, named, plain], true).expect("a labelled bundle");
    let after = open(&folder);
    assert_ne!(after.info().bundle_digest, digest, "another manifest is another bundle");

    let info = feature(&after, 3);
    assert_eq!((info.index, info.correlation, info.tiles), (3, 0.71, 56));
    let texts = [&info.label[..], &info.cell_type, &info.dataset].map(text);
    assert_eq!(texts, ["lymphocytes", "inflammatory", "CoNSeP"]);
    assert_eq!((info.partial_correlation, info.p_value, info.groups), (0.62, 0.003, 14));
    let info = feature(&after, 2);
    assert!(info.partial_correlation.is_nan() && (info.p_value, info.groups) == (1.0, 1));
    let info = feature(&after, 1);
    assert_eq!(text(&info.label), "n".repeat(127));
    assert!(info.correlation.is_nan() && info.tiles == 0 && text(&info.cell_type).is_empty());
    let info = feature(&after, 0);
    assert!(text(&info.label).is_empty() && info.correlation.is_nan());
    assert!(info.partial_correlation.is_nan() && info.p_value.is_nan() && info.groups == 0);
    assert!(text(&feature(&before, 3).label).is_empty(), "a runtime keeps the bundle that it opened");
}

#[test]
fn empty_labels_and_unknown_features_are_refused_and_the_bundle_stays() {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("features-refused");
    coverslip_testkit::bundle(&folder);
    let manifest = std::fs::read(folder.join("manifest.json")).expect("a manifest");
    let label = |index, label: &str| FeatureLabel { index, label: label.into(), ..FeatureLabel::default() };
    let test = LabelTest { partial_correlation: None, p_value: 0.5, groups: 3 };
    let cases = [
        (vec![label(1_000_000, "a")], "beyond"),
        (vec![label(2, "a"), label(2, "b")], "twice"),
        (vec![label(2, " ")], "is empty"),
        (vec![FeatureLabel { correlation: Some(1.5), ..label(2, "a") }], "between -1 and 1"),
        (vec![FeatureLabel { tested: Some(LabelTest { groups: 0, ..test }), ..label(2, "a") }], "at least one group"),
        (
            vec![FeatureLabel { tested: Some(LabelTest { p_value: 1.01, ..test }), ..label(2, "a") }],
            "p-value of 0 to 1",
        ),
        (
            vec![FeatureLabel { tested: Some(LabelTest { partial_correlation: Some(-1.5), ..test }), ..label(2, "a") }],
            "-1 to 1",
        ),
    ];
    for (labels, expected) in cases {
        let error = relabel(&folder, &folder, labels, true).expect_err("refused").to_string();
        assert!(error.contains(expected), "expected {expected:?} in {error:?}");
    }
    assert!(relabel(&folder, &folder, Vec::new(), false).expect_err("refused").to_string().contains("exists"));
    assert_eq!(std::fs::read(folder.join("manifest.json")).expect("a manifest"), manifest);
}
