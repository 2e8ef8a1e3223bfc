//! Circles in a graph of imports.

use std::collections::{BTreeMap, BTreeSet};

/// Whole circles: each a set of nodes of which every one reaches every other.
pub(crate) fn circles(arrows: &BTreeMap<String, BTreeSet<String>>) -> Vec<BTreeSet<String>> {
    let reach = |from: &String| {
        let (mut seen, mut next) = (BTreeSet::new(), vec![from]);
        while let Some(node) = next.pop() {
            next.extend(arrows.get(node).into_iter().flatten().filter(|to| seen.insert((*to).clone())));
        }
        seen
    };
    let reached: BTreeMap<&String, BTreeSet<String>> = arrows.keys().map(|from| (from, reach(from))).collect();
    let mut found = BTreeSet::new();
    for (from, seen) in &reached {
        let circle: BTreeSet<String> =
            seen.iter().filter(|to| reached.get(to).is_some_and(|back| back.contains(*from))).cloned().collect();
        if circle.contains(*from) {
            found.insert(circle);
        }
    }
    found.into_iter().collect()
}

/// The arrows between the children of one folder: files, and folders as wholes.
pub(crate) fn between_siblings(arrows: &BTreeMap<String, BTreeSet<String>>) -> BTreeMap<String, BTreeSet<String>> {
    let mut siblings: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (from, to) in arrows.iter().flat_map(|(from, all)| all.iter().map(move |to| (from, to))) {
        let (a, b): (Vec<&str>, Vec<&str>) = (from.split('/').collect(), to.split('/').collect());
        let common = a.iter().zip(&b).take_while(|(a, b)| a == b).count();
        let (a, b) = (a[..=common].join("/"), b[..=common].join("/"));
        // A folder's own mod.rs is its face: what its children take from it, they take from the folder.
        if !a.ends_with("/mod.rs") && !b.ends_with("/mod.rs") {
            siblings.entry(a).or_default().insert(b);
        }
    }
    siblings
}

/// The circles as sentences, with the arrows that make them.
pub(crate) fn said(circles: &[BTreeSet<String>], arrows: &BTreeMap<String, BTreeSet<String>>) -> String {
    let mut text = String::new();
    for circle in circles {
        text.push_str("a circle:\n");
        for from in circle {
            for to in arrows.get(from).into_iter().flatten().filter(|to| circle.contains(*to)) {
                text.push_str(&format!("  {from} -> {to}\n"));
            }
        }
    }
    text
}

#[test]
fn circles_are_found_and_chains_are_not() {
    let arrows = |pairs: &[(&str, &str)]| {
        let mut all: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (a, b) in pairs {
            all.entry((*a).into()).or_default().insert((*b).into());
        }
        all
    };
    assert!(circles(&arrows(&[("a", "b"), ("b", "c"), ("a", "c")])).is_empty());
    let found = circles(&arrows(&[("a", "b"), ("b", "c"), ("c", "a"), ("c", "d")]));
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].len(), 3);
    let folders = between_siblings(&arrows(&[("s/x/a.rs", "s/y/b.rs"), ("s/y/c.rs", "s/x/d.rs")]));
    assert_eq!(circles(&folders).len(), 1, "folders may be in a circle whose files are not");
}
