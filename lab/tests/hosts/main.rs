//! The installed package, used as a host's developer uses it: `coverslip install` into a folder, and the examples built
//! against that folder (which has moved meanwhile) and run on a drawn slide.
#![cfg(target_os = "linux")]

#[path = "../../../tests/support/mod.rs"]
mod support;

mod examples;
mod package;
mod programs;

use std::path::{Path, PathBuf};
use std::process::Command;

/// Installs into `<scratch>/made`, then moves the tree: no file in it may remember where it was made.
fn installed(scratch: &support::Scratch) -> PathBuf {
    let (made, moved) = (scratch.join("made"), scratch.join("moved here"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_coverslip"));
    command.arg("install").arg("--prefix").arg(&made).arg("--library").arg(support::library());
    command.arg("--bundle").arg(support::demo_bundle());
    support::run(&mut command);
    std::fs::rename(&made, &moved).expect("the tree can be moved");
    moved
}

/// The bundle of the installed tree.
fn bundle(prefix: &Path) -> PathBuf {
    prefix.join("share/coverslip/bundles").join(support::demo_bundle().file_name().expect("a name"))
}
