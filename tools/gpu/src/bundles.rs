//! Bundles of random weights, of the sizes that pathology models have.

use std::path::Path;
use std::time::Instant;

use coverslip_bundle::Bundle;
use coverslip_bundle::synthetic::SyntheticSpec;

use crate::outcome::Outcome;

/// A vision transformer with patches of 16 px at 224 px.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(crate) enum Size {
    /// 32 px, two blocks of width 32: for tests of the kit
    Tiny,
    /// Width 384, 12 blocks
    VitSmall,
    /// Width 768, 12 blocks
    VitBase,
    /// Width 1024, 24 blocks
    VitLarge,
}

pub(crate) fn run(size: Size, out: &Path) -> Outcome {
    let began = Instant::now();
    coverslip_testkit::bundle_of(out, &spec(size));
    let flops = Bundle::open(out)?.manifest().flops_per_tile() as f64;
    println!("{size:?}: {:.2} GFLOP a tile, made in {:.1} s", flops / 1e9, began.elapsed().as_secs_f64());
    Ok(())
}

fn spec(size: Size) -> SyntheticSpec {
    match size {
        Size::Tiny => SyntheticSpec::default(),
        Size::VitSmall => SyntheticSpec::vit_small(),
        Size::VitBase => SyntheticSpec::vit_base(),
        Size::VitLarge => SyntheticSpec::vit_large(),
    }
}
