//! Folders of vision transformers: weights, `config.json`, `preprocessor_config.json`, and a person's `model.json`.

use std::fs;
use std::path::Path;

use coverslip_import::{ModelSource, ModelSpec, StoreAs, import_model};
use coverslip_testkit::Scratch;
use serde_json::Value;

use crate::input::{Input, Seeds, file, folders, golden, joined};
use crate::tensors::{file_of_text, text_of};
use crate::torch::{archive_of, pickle_of};

/// The bit of the first byte by which the weights lie in shards, with an index of them.
const SHARDED: u8 = 0x40;
/// The bit by which the weights are a pickle of PyTorch.
const PICKLED: u8 = 0x80;
/// The file of safetensors, and that of a pickle.
const WEIGHTS: &str = "model.safetensors";
const PICKLE: &str = "pytorch_model.bin";
const INDEX: &str = "model.safetensors.index.json";
const SHARDS: [&str; 3] =
    ["model-00001-of-00003.safetensors", "model-00002-of-00003.safetensors", "model-00003-of-00003.safetensors"];
/// The line between the texts of two shards.
const BETWEEN: &str = "#\n";
/// Storages beside a pickle, and the bytes of each: enough for a golden model's largest tensor.
const STORAGES: (usize, usize) = (48, 48 << 10);

/// Three JSON files, and a fourth where there are shards; then a text of tensors, or a pickle. An empty JSON file is not
/// there.
pub(crate) fn vit(data: &[u8]) -> bool {
    let mut input = Input::new(data);
    let choice = input.byte();
    let precision = [StoreAs::Keep, StoreAs::Half, StoreAs::Single][usize::from(choice & !(SHARDED | PICKLED)) % 3];
    let [config, preprocessor, stated] = [input.part(), input.part(), input.part()];
    let Ok(spec) = serde_json::from_slice::<ModelSpec>(if stated.is_empty() { b"{}" } else { stated }) else {
        return false;
    };
    let scratch = Scratch::new("fuzz");
    for (name, bytes) in [("config.json", config), ("preprocessor_config.json", preprocessor)] {
        if !bytes.is_empty() {
            fs::write(scratch.join(name), bytes).expect("a scratch file");
        }
    }
    if write_weights(choice, input, scratch.path()).is_none() {
        return false;
    }
    let Ok(source) = ModelSource::open(scratch.path(), None) else { return false };
    let Ok(imported) = import_model(&source, &spec, precision) else { return false };
    imported.weights.stored_bytes() < 16 << 20 && imported.weights.read().is_ok()
}

/// Writes the rest of an input as files of weights; `None` where its tensors would be large.
fn write_weights(choice: u8, mut input: Input, folder: &Path) -> Option<()> {
    let write = |name: &str, bytes: &[u8]| fs::write(folder.join(name), bytes).expect("a scratch file");
    if choice & PICKLED != 0 {
        write(PICKLE, &archive_of(input.rest(), STORAGES));
    } else if choice & SHARDED != 0 {
        write(INDEX, input.part());
        let text = String::from_utf8_lossy(input.rest());
        for (name, text) in SHARDS.iter().zip(text.split(BETWEEN)) {
            write(name, &file_of_text(text.as_bytes())?);
        }
    } else {
        write(WEIGHTS, &file_of_text(input.rest())?);
    }
    Some(())
}

/// Every golden model that the importer reads: the replay says which one is refused.
pub(crate) fn seeds() -> Seeds {
    let mut seeds = Seeds::new();
    for (name, folder) in folders(&golden().join("models")) {
        let json = |name: &str| {
            let path = folder.join(name);
            if path.is_file() { file(&path) } else { Vec::new() }
        };
        let said: Value = serde_json::from_slice(&json("golden.json")).expect("golden.json is JSON");
        if said.get("refused").is_some() {
            continue;
        }
        let stated = said["model"].to_string().into_bytes();
        let (choice, index, weights) = weights(&folder).unwrap_or_else(|| panic!("{name}: no file of weights"));
        let mut parts = vec![json("config.json"), json("preprocessor_config.json"), stated];
        parts.extend(index);
        let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        seeds.push((name, joined(choice, &parts, &weights)));
    }
    seeds
}

/// How a golden model's weights lie, the index of its shards, and what an input has in place of the weights.
fn weights(folder: &Path) -> Option<(u8, Option<Vec<u8>>, Vec<u8>)> {
    if folder.join(INDEX).is_file() {
        let texts = SHARDS.map(|name| text_of(&folder.join(name)));
        return Some((SHARDED, Some(file(&folder.join(INDEX))), texts.join(BETWEEN).into_bytes()));
    }
    if folder.join(WEIGHTS).is_file() {
        return Some((0, None, text_of(&folder.join(WEIGHTS)).into_bytes()));
    }
    let pickle =
        [PICKLE, "teacher_checkpoint.pth"].map(|name| folder.join(name)).into_iter().find(|path| path.is_file());
    Some((PICKLED, None, pickle_of(&file(&pickle?)).to_vec()))
}
