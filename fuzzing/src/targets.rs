//! Every kind of input, by name.

use crate::input::Seeds;
use crate::{
    bundle, contract, findings, onnx, plan, profile, sae, signature, slides, tables, tensors, torch, vit, wire,
};

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
pub const TARGETS: [Target; 20] = [
    Target { name: "bundle", run: bundle::bundle, seeds: bundle::parts_seeds },
    Target { name: "contract", run: contract::contract, seeds: contract::seeds },
    Target { name: "csv", run: tables::csv, seeds: tables::csv_seeds },
    Target { name: "findings", run: findings::findings, seeds: findings::seeds },
    Target { name: "jpeg", run: slides::jpeg, seeds: slides::jpeg_seeds },
    Target { name: "manifest", run: bundle::manifest, seeds: bundle::manifest_seeds },
    Target { name: "mpp", run: slides::mpp, seeds: slides::mpp_seeds },
    Target { name: "onnx", run: onnx::onnx, seeds: onnx::seeds },
    Target { name: "parquet", run: tables::parquet, seeds: tables::parquet_seeds },
    Target { name: "pickle", run: torch::pickle, seeds: torch::pickle_seeds },
    Target { name: "plan", run: plan::plan, seeds: plan::seeds },
    Target { name: "png", run: slides::png, seeds: slides::png_seeds },
    Target { name: "profile", run: profile::profile, seeds: profile::seeds },
    Target { name: "sae", run: sae::sae, seeds: sae::seeds },
    Target { name: "safetensors", run: tensors::safetensors, seeds: tensors::seeds },
    Target { name: "signature", run: signature::signature, seeds: signature::seeds },
    Target { name: "tiff", run: slides::tiff, seeds: slides::tiff_seeds },
    Target { name: "torch", run: torch::torch, seeds: torch::archive_seeds },
    Target { name: "vit", run: vit::vit, seeds: vit::seeds },
    Target { name: "wire", run: wire::wire, seeds: wire::seeds },
];
