//! A forward with layers in int8: near float32's, the same on every family, without an allocation.

use std::collections::BTreeSet;
use std::sync::Arc;

use coverslip_bundle::synthetic::{self, SyntheticSpec};
use coverslip_bundle::{Agreement, Bundle, Int8Block, Int8Layer, Int8Mix, Int8Rest, Mlp};
use coverslip_testkit::{Counting, Fixture, note};
use coverslip_vit::{Choice, Family, Int8Family, Lane, Model, of_model, outputs, smoothing};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const PLAIN: Choice = Choice { floats: Family::Plain, int8: Some(Int8Family::Plain) };

fn choices() -> Vec<Choice> {
    let all = [
        (Int8Family::AvxVnni, Family::Avx2),
        (Int8Family::Avx512Vnni, Family::Avx512),
        (Int8Family::Avx512Vnni, Family::Avx512Bf16),
        (Int8Family::Avx512Vnni, Family::Avx512Fp16),
        (Int8Family::NeonDot, Family::Neon),
        (Int8Family::NeonDot, Family::NeonFp16),
    ];
    let all = all.map(|(int8, floats)| Choice { floats, int8: Some(int8) });
    all.iter().filter(|choice| !choice.runs_here()).for_each(|choice| note(&format!("not here: {choice}")));
    all.into_iter().filter(|choice| choice.runs_here()).collect()
}

fn specs() -> Vec<(&'static str, SyntheticSpec)> {
    vec![
        ("gelu", SyntheticSpec { side: 56, patch: 14, embed_dim: 64, heads: 2, ..Default::default() }),
        (
            "a gate, heads of 5, a hidden layer in parts",
            SyntheticSpec { mlp: Mlp::SwiGlu, embed_dim: 160, heads: 32, registers: 2, seed: 2, ..Default::default() },
        ),
    ]
}

/// The mix of the given layers in every block, evened out on `tiles`.
fn mix(bundle: &Bundle, tiles: &[u8], layers: &[Int8Layer], rest: Int8Rest) -> Int8Mix {
    let side = bundle.manifest().side;
    let model = Arc::new(Model::open(bundle, Family::Plain).unwrap());
    let mut lane = Lane::calibrating(&model).unwrap();
    for tile in tiles.chunks_exact(3 * side * side) {
        lane.run(tile);
    }
    let layers: BTreeSet<Int8Layer> = layers.iter().copied().collect();
    let blocks = smoothing(bundle, lane.maxima().unwrap()).unwrap().into_iter();
    let blocks = blocks.map(|[norm1, norm2]| Int8Block { layers: layers.clone(), norm1, norm2 });
    Int8Mix { rest, blocks: blocks.collect() }
}

#[test]
fn every_layer_in_int8_is_near_float32_and_the_same_on_every_family() {
    for (what, spec) in specs() {
        let bundle = Fixture::with(&spec).open().unwrap();
        let tiles = synthetic::tiles(&spec, 2);
        let exact = outputs(&bundle, Family::Plain, &tiles).unwrap();
        let one_by_one = Int8Layer::ALL.iter().map(std::slice::from_ref);
        for layers in one_by_one.chain([&[][..], &Int8Layer::ALL]) {
            let mix = mix(&bundle, &tiles, layers, Int8Rest::Float32);
            let run = |choice| {
                let model = Model::of_mix(&bundle, choice, &mix).unwrap();
                of_model(bundle.manifest(), model, &tiles).unwrap()
            };
            let plain = run(PLAIN);
            let near = Agreement::between(bundle.manifest(), &exact, &plain).unwrap().worst_embedding();
            // A step of 1/255 of a row's range, and of 1/127 of a column's; without a layer, the factors alone.
            let expected = if layers.is_empty() { 0.0..1e-9 } else { 1e-9..1e-3 };
            assert!(expected.contains(&near), "{what} {layers:?}: {near:e}");
            for choice in choices() {
                let found = run(choice);
                let same = Agreement::between(bundle.manifest(), &plain, &found).unwrap().worst_embedding();
                // Sums of int8 are the same bits; a norm that rounds otherwise moves a u8 by one step now and then.
                assert!(same <= 1e-7, "{what} {layers:?} {choice}: {same:e}");
            }
        }
    }
}

#[test]
fn a_run_with_int8_allocates_nothing() {
    for (what, spec) in specs() {
        let bundle = Fixture::with(&spec).open().unwrap();
        let tiles = synthetic::tiles(&spec, 1);
        let mix = mix(&bundle, &tiles, &Int8Layer::ALL, Int8Rest::Half);
        for choice in choices().into_iter().chain([PLAIN]) {
            let mut lane = Lane::new(&Arc::new(Model::of_mix(&bundle, choice, &mix).unwrap())).unwrap();
            let before = Counting::allocations();
            assert!(before > 0, "the counter counts");
            for _ in 0..3 {
                assert!(lane.run(&tiles).embeddings.iter().all(|value| value.is_finite()));
            }
            assert_eq!(Counting::allocations() - before, 0, "{what} {choice}");
        }
    }
}

#[test]
fn a_bundle_without_int8_is_refused_by_name() {
    let spec = SyntheticSpec::default();
    let bundle = Fixture::with(&spec).open().unwrap();
    let error = Model::open(&bundle, PLAIN).err().unwrap();
    assert!(error.to_string().contains("bundle quantise"), "{error}");
}
