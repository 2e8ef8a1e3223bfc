//! Opening a bundle of which one file is a stranger's, with a manifest that states the file's true size and digest.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use coverslip_bundle::build::{with_int8, write_bundle};
use coverslip_bundle::synthetic::{self, SyntheticSpec};
use coverslip_bundle::tensors::{TensorMap, to_safetensors};
use coverslip_bundle::{
    Architecture, Bundle, Digest, GRAPH_FILE, INT8_FILE, Int8Gate, Int8Mix, MANIFEST_FILE, MODEL_FILE, Precision,
    REFERENCE_FILE, SAE_FILE,
};
use coverslip_testkit::Scratch;
use serde_json::{Value, json};

use crate::engine;
use crate::input::{Input, Seeds, joined};
use crate::onnx::imported;
use crate::tensors::of_text;

/// A bundle's files by their names.
pub(crate) type Files = BTreeMap<String, Vec<u8>>;

/// The files that an input can be, by the low bits of its first byte.
const PARTS: [(u8, &str); 5] =
    [(0, MODEL_FILE), (1, SAE_FILE), (2, REFERENCE_FILE), (3, GRAPH_FILE), (LAST_PART, INT8_FILE)];
const LAST_PART: u8 = 8;
/// The bit of the first byte that takes the bundle of an ONNX graph instead of a ViT's.
const ONNX: u8 = 0x80;
/// The bit of the first byte by which an input is a text of tensors.
const TEXT: u8 = 0x40;

/// A manifest. With an odd first byte, sizes and digests of the other files are corrected, as an attacker would.
pub(crate) fn manifest(data: &[u8]) -> bool {
    let mut input = Input::new(data);
    let choice = input.byte();
    let mut files = if choice & ONNX == 0 { vit().clone() } else { graph().clone() };
    let text = input.rest();
    match serde_json::from_slice::<Value>(text) {
        Ok(mut stated) if choice & 1 != 0 => {
            seal(&mut stated, &files);
            files.insert(MANIFEST_FILE.to_owned(), stated.to_string().into_bytes());
        }
        _ => drop(files.insert(MANIFEST_FILE.to_owned(), text.to_vec())),
    }
    opened(&files)
}

/// The weights of the model or the SAE, the reference outputs, the graph, or the factors of int8.
pub(crate) fn bundle(data: &[u8]) -> bool {
    let mut input = Input::new(data);
    let choice = input.byte();
    let mut files = if choice & ONNX == 0 { vit().clone() } else { graph().clone() };
    let low = if choice & 0xf == LAST_PART { LAST_PART } else { choice & 3 };
    let name = PARTS.iter().find(|(bits, _)| *bits == low).map_or(MODEL_FILE, |(_, name)| name);
    let part = input.rest();
    let Some(there) = files.get_mut(name) else { return false };
    *there = if choice & TEXT == 0 || name == GRAPH_FILE {
        part.to_vec()
    } else {
        // Tensors of the text over those that are there, so that one of them can be wrong at a time.
        let Some(tensors) = of_text(part) else { return false };
        let mut all = read(there);
        all.extend(tensors);
        to_safetensors(&all).expect("tensors of equal lengths")
    };
    let mut stated: Value = serde_json::from_slice(&files[MANIFEST_FILE]).expect("a manifest of our own");
    seal(&mut stated, &files);
    files.insert(MANIFEST_FILE.to_owned(), stated.to_string().into_bytes());
    opened(&files)
}

/// States the true size and digest of every file that the manifest lists.
fn seal(manifest: &mut Value, files: &Files) {
    let Some(listed) = manifest.get_mut("files").and_then(Value::as_object_mut) else { return };
    for (name, entry) in listed {
        if let Some(bytes) = files.get(name) {
            *entry = json!({ "bytes": bytes.len(), "sha256": Digest::of(bytes).to_string() });
        }
    }
}

/// Does with a bundle what a scanner does: opens it, composes its graph, and loads the CPU engine, which runs the reference
/// tiles.
fn opened(files: &Files) -> bool {
    let scratch = Scratch::new("fuzz");
    written(files, scratch.path());
    let Ok(bundle) = Bundle::open(scratch.path()) else { return false };
    let _ = (bundle.index_map(), bundle.compose_at(Precision::Float16), bundle.compose_apart(Precision::BFloat16));
    bundle.reference().is_ok() && bundle.compose().is_ok() && engine::loaded(bundle)
}

/// Writes a bundle's files into a folder.
pub(crate) fn written(files: &Files, folder: &Path) {
    for (name, bytes) in files {
        fs::write(folder.join(name), bytes).expect("a scratch file");
    }
}

fn read(bytes: &[u8]) -> TensorMap {
    let scratch = Scratch::new("fuzz");
    let path = scratch.join("part.safetensors");
    fs::write(&path, bytes).expect("a scratch file");
    coverslip_testkit::read_tensors(&path)
}

/// The smallest bundle with everything that a bundle can have.
fn spec() -> SyntheticSpec {
    let mut spec =
        SyntheticSpec { side: 16, patch: 8, embed_dim: 8, depth: 1, heads: 2, d_sae: 16, k: 2, ..Default::default() };
    spec.taps.remove(0);
    for tap in &mut spec.taps {
        tap.source = coverslip_bundle::TapSource::Block { after_block: 0, final_norm: true };
    }
    spec
}

/// A tiny ViT with reference outputs of the embedded engine, all of which may run in int8.
pub(crate) fn vit() -> &'static Files {
    static FILES: OnceLock<Files> = OnceLock::new();
    FILES.get_or_init(|| {
        made(|folder| {
            let plain = folder.with_file_name("plain");
            let bundle = synthetic::write(plain.as_path(), &spec(), coverslip_runner::load).expect("a bundle");
            let mix = Int8Mix::everything(bundle.manifest());
            drop(with_int8(&plain, folder, &mix, passed(), false).expect("a bundle with int8"));
        })
    })
}

/// What a mix has measured that is offered.
fn passed() -> Int8Gate {
    Int8Gate {
        slides: 2,
        tiles: 40,
        overlap: 1.0,
        overlap_low: 1.0,
        value_overlap: 1.0,
        flags_changed: 0.0,
        kernels: "plain".to_owned(),
    }
}

/// The same with the graph of [`crate::onnx`] in place of the ViT.
fn graph() -> &'static Files {
    static FILES: OnceLock<Files> = OnceLock::new();
    FILES.get_or_init(|| {
        made(|folder| {
            let imported = imported();
            let mut recipe = synthetic::recipe(&spec());
            recipe.manifest.side = imported.side;
            recipe.manifest.taps = imported.taps;
            recipe.manifest.architecture = Architecture::Onnx(imported.model);
            recipe.model = imported.weights;
            recipe.topology = Some(imported.topology);
            drop(write_bundle(folder, recipe, false, coverslip_runner::load).expect("a bundle"));
        })
    })
}

fn made(write: impl FnOnce(&Path)) -> Files {
    let scratch = Scratch::new("fuzz");
    let folder = scratch.join("bundle");
    write(&folder);
    let entries = fs::read_dir(&folder).expect("the bundle's folder");
    let named = entries.map(|entry| entry.expect("an entry of a folder").path()).map(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        (name, fs::read(&path).expect("the bundle's file"))
    });
    named.collect()
}

pub(crate) fn manifest_seeds() -> Seeds {
    let seed = |name: &str, choice, files: &Files| (name.to_owned(), joined(choice, &[], &files[MANIFEST_FILE]));
    vec![seed("vit", 0, vit()), seed("sealed", 1, vit()), seed("onnx", ONNX | 1, graph())]
}

pub(crate) fn parts_seeds() -> Seeds {
    let mut seeds = Seeds::new();
    for (bit, kind, files) in [(0, "vit", vit()), (ONNX, "onnx", graph())] {
        for (choice, name) in PARTS {
            if let Some(bytes) = files.get(name) {
                seeds.push((format!("{kind}-{name}"), joined(bit | choice, &[], bytes)));
            }
        }
    }
    let texts = [("text", 1, "b_dec f32 8 0.25\n"), ("text-int8", LAST_PART, "blocks.0.norm1 f32 8 0.5\n")];
    seeds.extend(texts.map(|(name, part, text)| (name.to_owned(), joined(TEXT | part, &[], text.as_bytes()))));
    seeds
}
