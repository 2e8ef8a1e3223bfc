//! What Coverslip does with a stranger's bytes: one function per kind of input, each with the seeds from which a fuzzer
//! starts. `cargo fuzz` runs these functions (`fuzz/README.md`), and `tests/replay.rs` runs them on every committed input.
//!
//! A function takes any bytes. It must return, whatever they are, without a panic, without an allocation beyond
//! `replay.rs`'s limit and within seconds. It returns whether the reader took the input, so that a test can see that the
//! seeds still reach what they are for.
//!
//! The worker's protocol has no target yet, because there is no worker. Its target belongs here, beside [`contract`].

mod bundle;
mod contract;
mod input;
mod onnx;
mod plan;
mod profile;
mod sae;
mod slides;
mod tables;
mod tensors;
mod tiff;
mod torch;
mod vit;

pub use bundle::{bundle, manifest};
pub use contract::contract;
pub use onnx::onnx;
pub use plan::plan;
pub use profile::profile;
pub use sae::sae;
pub use slides::{jpeg, mpp, png, tiff};
pub use tables::{csv, parquet};
pub use tensors::safetensors;
pub use torch::{pickle, torch};
pub use vit::vit;

/// Inputs with their names.
pub type Seeds = Vec<(String, Vec<u8>)>;

/// One kind of input.
#[derive(Clone, Copy)]
pub struct Target {
    /// The function's name, which is also that of the fuzzer's binary and of the folders of inputs.
    pub name: &'static str,
    /// What is done with an input; whether the reader took it.
    pub run: fn(&[u8]) -> bool,
    /// Inputs that the reader takes.
    pub seeds: fn() -> Seeds,
}

/// Every kind of input.
pub const TARGETS: [Target; 17] = [
    Target { name: "bundle", run: bundle, seeds: bundle::parts_seeds },
    Target { name: "contract", run: contract, seeds: contract::seeds },
    Target { name: "csv", run: csv, seeds: tables::csv_seeds },
    Target { name: "jpeg", run: jpeg, seeds: slides::jpeg_seeds },
    Target { name: "manifest", run: manifest, seeds: bundle::manifest_seeds },
    Target { name: "mpp", run: mpp, seeds: slides::mpp_seeds },
    Target { name: "onnx", run: onnx, seeds: onnx::seeds },
    Target { name: "parquet", run: parquet, seeds: tables::parquet_seeds },
    Target { name: "pickle", run: pickle, seeds: torch::pickle_seeds },
    Target { name: "plan", run: plan, seeds: plan::seeds },
    Target { name: "png", run: png, seeds: slides::png_seeds },
    Target { name: "profile", run: profile, seeds: profile::seeds },
    Target { name: "sae", run: sae, seeds: sae::seeds },
    Target { name: "safetensors", run: safetensors, seeds: tensors::seeds },
    Target { name: "tiff", run: tiff, seeds: slides::tiff_seeds },
    Target { name: "torch", run: torch, seeds: torch::archive_seeds },
    Target { name: "vit", run: vit, seeds: vit::seeds },
];
