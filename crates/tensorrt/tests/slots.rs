//! The interface tables against the list that was read from NVIDIA's headers.

use std::collections::HashMap;

use coverslip_tensorrt::sys::slots::{Entry, RTX, Slots, TENSORRT_11};

const LIST: &str = include_str!("slots.tsv");

type Places = HashMap<(String, String), Option<usize>>;

/// A release's column.
fn release(name: &str) -> Places {
    let mut lines = LIST.lines().filter(|line| !line.starts_with('#'));
    let column = lines.next().unwrap().split('\t').position(|head| head == name).expect("a release of the list");
    lines
        .map(|line| {
            let cells: Vec<&str> = line.split('\t').collect();
            ((cells[0].to_owned(), cells[1].to_owned()), cells[column].parse().ok())
        })
        .collect()
}

fn differences(slots: &Slots, release: &Places) -> Vec<String> {
    let entries = slots.entries();
    let lines = entries.iter().map(|Entry { class, method, slot }| {
        let listed = release.get(&((*class).to_owned(), (*method).to_owned())).expect("the list has every method");
        (*listed != *slot).then(|| format!("{class}::{method}: here {slot:?}, in the headers {listed:?}"))
    });
    lines.flatten().collect()
}

#[test]
fn tensorrt_11() {
    for name in ["11.0", "11.1", "11.4"] {
        let differences = differences(&TENSORRT_11, &release(name));
        assert!(differences.is_empty(), "{name}: {differences:#?}");
    }
}

#[test]
fn tensorrt_rtx() {
    for name in ["RTX1.5", "RTX1.6", "RTX1.7"] {
        let differences = differences(&RTX, &release(name));
        assert!(differences.is_empty(), "{name}: {differences:#?}");
    }
}

/// Why these are refused: a call would reach another method.
#[test]
fn refused_releases_have_other_tables() {
    for name in ["10.16", "RTX1.4"] {
        let slots = if name.starts_with("RTX") { &RTX } else { &TENSORRT_11 };
        assert!(differences(slots, &release(name)).len() > 20, "{name}");
    }
}

/// Where RTX has a method that TensorRT has not, the place is another method's or beyond the table's end: the gate is
/// `Option`, and it is closed.
#[test]
fn what_only_rtx_has_is_gated() {
    let gated = |slots: &Slots| slots.entries().iter().filter(|entry| entry.slot.is_none()).count();
    assert_eq!((gated(&TENSORRT_11), gated(&RTX)), (11, 0));
}
