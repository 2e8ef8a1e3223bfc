//! What Coverslip does with a stranger's bytes: one function per kind of input, each with the seeds from which a fuzzer
//! starts. `cargo fuzz` runs these functions (`fuzz/README.md`), and `tests/replay.rs` runs them on every committed input.
//!
//! A function takes any bytes. It must return, whatever they are, without a panic, without an allocation beyond
//! `replay.rs`'s limit and within seconds. It returns whether the reader took the input, so that a test can see that the
//! seeds still reach what they are for.

mod bundle;
mod contract;
mod engine;
mod findings;
mod input;
#[cfg(target_os = "linux")]
mod link;
mod onnx;
mod plan;
mod profile;
mod profile_files;
mod sae;
mod signature;
mod slides;
mod tables;
mod targets;
mod tensors;
mod tiff;
mod torch;
mod vit;
mod wire;

pub use targets::{TARGETS, Target};
