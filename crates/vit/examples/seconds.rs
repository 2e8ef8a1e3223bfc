//! Measures the forward for `tools/peers/engine`: writes a random bundle's graph for the peers, then, for every line
//! `FAMILY TILES` on standard input, runs so many tiles and prints the CPU seconds of one.
//!
//! ```text
//! seconds vit-s16 FOLDER
//! ```

use std::io::{BufRead, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use coverslip_bundle::synthetic::{self, SyntheticSpec};
use coverslip_bundle::{Bundle, Int8Mix, Mlp};
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

#[allow(clippy::print_stdout)]
fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, name, folder] = &arguments[..] else { panic!("expected: seconds MODEL FOLDER") };
    let spec = spec(name).expect("vit-s16, vit-b16, vit-l16 or vit-s14");
    let folder = Path::new(folder);
    let path = folder.join("bundle");
    if !path.exists() {
        let bundle = synthetic::write(&path, &spec, synthetic::zeros).expect("a bundle");
        std::fs::write(folder.join("model.onnx"), bundle.compose().expect("a graph").onnx).expect("a file");
        std::fs::write(folder.join("tiles.bin"), synthetic::tiles(&spec, 4)).expect("a file");
    }
    let tiles = std::fs::read(folder.join("tiles.bin")).expect("the tiles");
    let tiles: Vec<&[u8]> = tiles.chunks_exact(3 * spec.side * spec.side).collect();
    let begun = Instant::now();
    let bundle = Bundle::open(&path).expect("the bundle");
    let verified = begun.elapsed();
    let mut lanes = Vec::new();
    let pure = Int8Mix::everything(bundle.manifest());
    let floats = Choice::here().into_iter().filter(|choice| choice.int8.is_none());
    for choice in floats.chain(Choice::int8()) {
        let begun = Instant::now();
        let model = match choice.int8 {
            Some(_) => Model::of_mix(&bundle, choice, &pure),
            None => Model::open(&bundle, choice),
        };
        let mut lane = Lane::new(&Arc::new(model.expect("a model"))).expect("a lane");
        let opened = begun.elapsed();
        lane.run(tiles[0]);
        let name = choice.to_string().replace(' ', "+");
        println!("{name} verify {verified:.3?} open {opened:.3?} first result {:.3?}", begun.elapsed());
        lanes.push((name, lane));
    }
    println!("ready");
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        let (name, count) = line.split_once(' ').expect("FAMILY TILES");
        let count: usize = count.parse().expect("a number");
        let (_, lane) = lanes.iter_mut().find(|(known, _)| known == name).expect("a family that runs here");
        let before = cpu_seconds();
        for i in 0..count {
            let outputs = lane.run(tiles[i % tiles.len()]);
            assert!(outputs.reconstruction_error.is_finite());
        }
        println!("{:.6}", (cpu_seconds() - before) / count as f64);
        let _ = std::io::stdout().flush();
    }
}
