//! The installed package, used as a host's developer uses it: `coverslip install` into a folder, and the examples built
//! against that folder (which has moved meanwhile) and run on a drawn slide.
#![cfg(target_os = "linux")]

mod examples;
mod package;
mod programs;
mod validated;

use std::path::{Path, PathBuf};
use std::process::Command;

/// Installs into `<scratch>/made`, then moves the tree: no file in it may remember where it was made.
fn installed(scratch: &coverslip_testkit::Scratch) -> PathBuf {
    let (made, moved) = (scratch.join("made"), scratch.join("moved here"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_coverslip"));
    command.arg("install").arg("--prefix").arg(&made).arg("--library").arg(coverslip_testkit::library());
    command.arg("--bundle").arg(coverslip_testkit::demo_bundle());
    coverslip_testkit::run(&mut command);
    std::fs::rename(&made, &moved).expect("the tree can be moved");
    moved
}

/// The bundle of the installed tree.
fn bundle(prefix: &Path) -> PathBuf {
    prefix.join("share/coverslip/bundles").join(coverslip_testkit::demo_bundle().file_name().expect("a name"))
}
