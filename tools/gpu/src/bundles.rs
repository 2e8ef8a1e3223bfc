//! Bundles of random weights, of the sizes that pathology models have.

use std::path::Path;
use std::time::Instant;

use coverslip_bundle::Bundle;
use coverslip_bundle::synthetic::SyntheticSpec;

use crate::outcome::Outcome;
use crate::synthetic;

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
    synthetic::bundle_of(out, &spec(size));
    let flops = Bundle::open(out)?.manifest().flops_per_tile() as f64;
    println!("{size:?}: {:.2} GFLOP a tile, made in {:.1} s", flops / 1e9, began.elapsed().as_secs_f64());
    Ok(())
}

fn spec(size: Size) -> SyntheticSpec {
    let wide = |embed_dim, depth, heads, d_sae| {
        let small = SyntheticSpec::vit_small();
        // The taps lie after a third, two thirds and all of the blocks.
        let mut taps = small.taps.clone();
        for (third, tap) in (1..).zip(&mut taps) {
            if let coverslip_bundle::TapSource::Block { after_block, .. } = &mut tap.source {
                *after_block = depth * third / 3 - 1;
            }
        }
        SyntheticSpec { embed_dim, depth, heads, d_sae, taps, ..small }
    };
    match size {
        Size::Tiny => SyntheticSpec::default(),
        Size::VitSmall => SyntheticSpec::vit_small(),
        Size::VitBase => wide(768, 12, 12, 6144),
        Size::VitLarge => wide(1024, 24, 16, 8192),
    }
}
