//! Measures the forward for `tools/peers/engine`: writes a bundle's graph for the peers, then answers each line on
//! standard input:
//!
//! | line | what it does |
//! |---|---|
//! | `FAMILY TILES` | runs so many tiles and prints the CPU seconds of one |
//! | `FAMILY features` | runs all tiles of `tiles.bin` and writes the features of each to `features.bin`, index and value |
//!
//! ```text
//! seconds vit-s16 FOLDER      a model of random weights, with tiles of its own
//! seconds BUNDLE FOLDER       a bundle, on the tiles in FOLDER/tiles.bin
//! ```

use std::io::{BufRead, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use coverslip_bundle::synthetic::{self, SyntheticSpec};
use coverslip_bundle::{Bundle, Int8Layer, Int8Mix, Mlp};
use coverslip_vit::{Choice, Lane, Model};

fn spec(name: &str) -> Option<SyntheticSpec> {
    Some(match name {
        "vit-s16" => SyntheticSpec::vit_small(),
        "vit-b16" => SyntheticSpec::vit_base(),
        "vit-l16" => SyntheticSpec::vit_large(),
        // DINOv2's ViT-S/14 with registers, and a gate as its largest has.
        "vit-s14" => SyntheticSpec {
            patch: 14,
            registers: 4,
            mlp: Mlp::SwiGlu,
            layer_scale: true,
            no_embed_class: true,
            ..SyntheticSpec::vit_small()
        },
        _ => return None,
    })
}

/// CPU seconds of this thread so far.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    let nanoseconds = stat.split(' ').next().and_then(|text| text.parse::<f64>().ok());
    nanoseconds.expect("schedstat's first number") / 1e9
}

/// Opens the bundle, and writes the graph that the peers run.
fn open(name: &str, folder: &Path) -> Bundle {
    let Some(spec) = spec(name) else {
        let bundle = Bundle::open(Path::new(name)).expect("vit-s16, vit-b16, vit-l16, vit-s14 or a bundle");
        std::fs::write(folder.join("model.onnx"), bundle.compose().expect("a graph").onnx).expect("a file");
        return bundle;
    };
    let path = folder.join("bundle");
    if !path.exists() {
        let bundle = synthetic::write(&path, &spec, synthetic::zeros).expect("a bundle");
        std::fs::write(folder.join("model.onnx"), bundle.compose().expect("a graph").onnx).expect("a file");
        std::fs::write(folder.join("tiles.bin"), synthetic::tiles(&spec, 4)).expect("a file");
    }
    Bundle::open(&path).expect("the bundle")
}

/// What is measured, each with the mix that it runs: every family of floats, every layer in int8, and the bundle's mix.
fn choices(bundle: &Bundle) -> Vec<(String, Choice, Option<Int8Mix>)> {
    let name = |choice: Choice| choice.to_string().replace(' ', "+");
    let mut all: Vec<_> = Choice::here()
        .into_iter()
        .filter(|choice| choice.int8.is_none())
        .map(|choice| (name(choice), choice, None))
        .collect();
    let Some(int8) = Choice::int8() else { return all };
    let mut pure = Int8Mix::everything(bundle.manifest());
    if let Some(mix) = bundle.int8() {
        // With the factors of the bundle's mix, whose other layers are as they are in it.
        pure = mix.clone();
        pure.blocks.iter_mut().for_each(|block| block.layers = Int8Layer::ALL.into());
        all.push(("mix".into(), int8, Some(mix.clone())));
    }
    all.push((name(int8), int8, Some(pure)));
    all
}

/// All features of all tiles, as pairs of index and value.
fn features(lane: &mut Lane, tiles: &[&[u8]]) -> Vec<u8> {
    let mut all = Vec::new();
    for tile in tiles {
        for feature in lane.run(tile).features {
            all.extend(feature.index.to_le_bytes());
            all.extend(feature.value.to_le_bytes());
        }
    }
    all
}

#[allow(clippy::print_stdout)]
fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, name, folder] = &arguments[..] else { panic!("expected: seconds MODEL FOLDER") };
    let folder = Path::new(folder);
    let begun = Instant::now();
    let bundle = open(name, folder);
    let verified = begun.elapsed();
    let tiles = std::fs::read(folder.join("tiles.bin")).expect("the tiles");
    let tiles: Vec<&[u8]> = tiles.chunks_exact(3 * bundle.manifest().side.pow(2)).collect();
    let mut lanes = Vec::new();
    for (name, choice, mix) in choices(&bundle) {
        let begun = Instant::now();
        let model = match &mix {
            Some(mix) => Model::of_mix(&bundle, choice, mix),
            None => Model::open(&bundle, choice),
        };
        let mut lane = Lane::new(&Arc::new(model.expect("a model"))).expect("a lane");
        let opened = begun.elapsed();
        lane.run(tiles[0]);
        println!("{name} verify {verified:.3?} open {opened:.3?} first result {:.3?}", begun.elapsed());
        lanes.push((name, lane));
    }
    println!("ready");
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        let (name, what) = line.split_once(' ').expect("FAMILY TILES");
        let (_, lane) = lanes.iter_mut().find(|(known, _)| known == name).expect("a family that runs here");
        if what == "features" {
            std::fs::write(folder.join("features.bin"), features(lane, &tiles)).expect("a file");
            println!("features.bin");
        } else {
            let count: usize = what.parse().expect("a number");
            let before = cpu_seconds();
            for i in 0..count {
                let outputs = lane.run(tiles[i % tiles.len()]);
                assert!(outputs.reconstruction_error.is_finite());
            }
            println!("{:.6}", (cpu_seconds() - before) / count as f64);
        }
        let _ = std::io::stdout().flush();
    }
}
