//! The forward of every family against rten on the composed graph, over the whole family of models.

use coverslip_bundle::synthetic::{self, SyntheticSpec};
use coverslip_bundle::{Agreement, InputStep, Mlp, Pooling, Precision, SaeArchitecture, Tap, TapSource, Tolerance};
use coverslip_testkit::{Fixture, note};
use coverslip_vit::{Family, outputs};

const FAMILIES: [Family; 7] = [
    Family::Plain,
    Family::Avx2,
    Family::Avx512,
    Family::Avx512Bf16,
    Family::Avx512Fp16,
    Family::Neon,
    Family::NeonFp16,
];

fn tap(name: &str, after_block: usize, final_norm: bool, pooling: Pooling) -> Tap {
    Tap { name: name.into(), source: TapSource::Block { after_block, final_norm }, pooling }
}

/// Models that differ in everything that a manifest may say.
fn specs() -> Vec<(&'static str, SyntheticSpec)> {
    let plain = SyntheticSpec::default;
    let every_tap = vec![
        tap("mean", 0, false, Pooling::MeanPatchTokens),
        tap("both", 1, false, Pooling::ClassAndMean),
        tap("class", 1, true, Pooling::ClassToken),
        tap("tokens", 1, false, Pooling::PatchTokens),
        tap("normed_tokens", 2, true, Pooling::PatchTokens),
        tap("normed_mean", 2, true, Pooling::MeanPatchTokens),
        tap("last", 2, true, Pooling::ClassAndMean),
    ];
    vec![
        ("the last block for the class token alone", plain()),
        ("every tap", SyntheticSpec { depth: 3, taps: every_tap, ..plain() }),
        (
            "swiglu, registers, layer scale",
            SyntheticSpec {
                mlp: Mlp::SwiGlu,
                registers: 4,
                layer_scale: true,
                no_embed_class: true,
                half: true,
                seed: 2,
                ..plain()
            },
        ),
        (
            "no class token, no bias, an odd patch, heads of 5",
            SyntheticSpec {
                side: 35,
                patch: 7,
                embed_dim: 20,
                class_token: false,
                qkv_bias: false,
                taps: vec![tap("last", 1, true, Pooling::MeanPatchTokens)],
                seed: 3,
                ..plain()
            },
        ),
        (
            "heads of 80, a hidden layer in parts, 197 tokens",
            SyntheticSpec {
                side: 112,
                patch: 8,
                embed_dim: 160,
                heads: 2,
                taps: vec![tap("last", 1, true, Pooling::ClassAndMean)],
                seed: 4,
                ..plain()
            },
        ),
    ]
}

/// SAEs of every kind on a small model.
fn saes() -> Vec<(&'static str, SyntheticSpec)> {
    let with = |sae_arch, input: Vec<InputStep>, seed| SyntheticSpec { sae_arch, input, seed, ..Default::default() };
    vec![
        ("relu", with(SaeArchitecture::Relu, vec![InputStep::Standardize], 11)),
        ("jumprelu", with(SaeArchitecture::JumpRelu, vec![InputStep::L2], 12)),
        ("gated", with(SaeArchitecture::Gated, vec![InputStep::ConstantNormRescale], 13)),
        ("groupmax", with(SaeArchitecture::GroupMax, vec![InputStep::LayerNorm], 14)),
        ("signed_topk", with(SaeArchitecture::SignedTopK, vec![InputStep::LayerNorm, InputStep::Standardize], 15)),
        (
            "rescaled topk",
            SyntheticSpec {
                rescale_acts_by_decoder_norm: true,
                apply_b_dec_to_input: false,
                seed: 16,
                ..Default::default()
            },
        ),
    ]
}

#[test]
fn every_family_computes_what_the_graph_says() {
    for (what, spec) in specs().into_iter().chain(saes()) {
        let bundle = Fixture::with(&spec).open().unwrap();
        let tiles = synthetic::tiles(&spec, 3);
        let expected = coverslip_runner::outputs(bundle.compose().unwrap(), &tiles).unwrap();
        for family in FAMILIES {
            if !family.runs_here() {
                note(&format!("this processor lacks {}: not tested here", family.name()));
                continue;
            }
            let found = outputs(&bundle, family, &tiles).unwrap();
            let agreement = Agreement::between(bundle.manifest(), &expected, &found).unwrap();
            let float32 = family.precision() == Precision::Float32;
            // The features of random weights lie close to one another: bfloat16 may report others.
            let near = if float32 {
                agreement.is_within(Tolerance::FLOAT32) && agreement.active_count <= 1
            } else {
                agreement.worst_embedding() <= 1e-3 && agreement.worst_embedding() > 1e-9
            };
            assert!(near, "{what}, {}: {agreement}", family.name());
        }
    }
}

#[test]
fn a_tile_does_not_depend_on_the_one_before() {
    let spec = SyntheticSpec { mlp: Mlp::SwiGlu, ..Default::default() };
    let bundle = Fixture::with(&spec).open().unwrap();
    let tiles = synthetic::tiles(&spec, 3);
    let one = 3 * spec.side * spec.side;
    for family in FAMILIES.into_iter().filter(|family| family.runs_here()) {
        let together = outputs(&bundle, family, &tiles).unwrap();
        let alone = outputs(&bundle, family, &tiles[2 * one..]).unwrap();
        let last = together.embeddings[1].chunks_exact(spec.embed_dim).next_back().unwrap();
        assert_eq!(last, &alone.embeddings[1][..], "{}", family.name());
        assert_eq!(together.reconstruction_error[2], alone.reconstruction_error[0], "{}", family.name());
    }
}
