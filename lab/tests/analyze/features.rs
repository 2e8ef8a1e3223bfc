//! `coverslip analyze features`.

use coverslip_bundle::tensors::{Tensor, TensorMap};
use coverslip_lab::findings::features::FeaturesFindings;
use coverslip_testkit::{Scratch, demo_bundle};

use super::fixture::{analyze, embeddings, write};

#[test]
fn top_tiles_are_the_strongest_and_come_from_several_groups() {
    let scratch = Scratch::new("features");
    let folder = scratch.path();
    write(folder, 4);
    let arguments = "features --embeddings @e.safetensors --top 6";
    let report: FeaturesFindings = analyze(folder, arguments).unwrap();
    assert_eq!((report.sample.tiles, report.sample.groups, report.features.len()), (48, 12, 6));
    let following = &report.features[0];
    assert_eq!((following.index, following.tiles_firing, following.groups_firing), (5, 48, 12));
    assert_eq!(following.top.len(), 6);
    assert_eq!(following.top[0].value, following.range[2]);
    assert!(following.top.windows(2).all(|pair| pair[0].value >= pair[1].value));
    let mut groups: Vec<&str> = following.top.iter().map(|tile| tile.group.as_str()).collect();
    groups.dedup();
    groups.sort_unstable();
    groups.dedup();
    assert!(groups.len() >= 3, "at most two tiles of a group: {groups:?}");
    // Feature 3 fires in two groups only: then its tiles come from these.
    let rare = report.features.iter().find(|feature| feature.index == 3).unwrap();
    assert_eq!((rare.groups_firing, rare.top.len()), (2, 6));
}

#[test]
fn features_that_the_bundle_does_not_have_are_refused() {
    let scratch = Scratch::new("fits");
    let arguments = format!("features --embeddings @e.safetensors --bundle {}", demo_bundle().display());
    for (index, fits) in [(383, true), (384, false)] {
        let tensors = TensorMap::from([
            ("embedding_last".to_owned(), Tensor::f32(&[1, 384], &[0.5; 384])),
            ("feature_index".to_owned(), Tensor::i32(&[1, 1], &[index])),
            ("feature_value".to_owned(), Tensor::f32(&[1, 1], &[1.0])),
        ]);
        embeddings(scratch.path(), &tensors, "slide\na\n");
        let found = analyze::<FeaturesFindings>(scratch.path(), &arguments);
        assert_eq!(found.is_ok(), fits, "{found:?}");
        let named = |text: &String| text.contains("below 384") && text.contains("found feature 384");
        assert!(found.as_ref().err().is_none_or(named), "{found:?}");
    }
}
