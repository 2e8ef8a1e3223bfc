//! Folders of vision transformers: weights, `config.json`, `preprocessor_config.json`, and a person's `model.json`.

use std::fs;

use coverslip_import::{ModelSource, ModelSpec, StoreAs, import_model};
use coverslip_testkit::Scratch;

use crate::input::{Input, Seeds, file, folders, golden, joined};
use crate::tensors::{file_of_text, text_of};

/// Three JSON files and a text of tensors; an empty JSON file is not there.
pub(crate) fn vit(data: &[u8]) -> bool {
    let mut input = Input::new(data);
    let precision = input.one(&[StoreAs::Keep, StoreAs::Half, StoreAs::Single]);
    let [config, preprocessor, stated] = [input.part(), input.part(), input.part()];
    let Ok(spec) = serde_json::from_slice::<ModelSpec>(if stated.is_empty() { b"{}" } else { stated }) else {
        return false;
    };
    let Some(weights) = file_of_text(input.rest()) else { return false };
    let scratch = Scratch::new("fuzz");
    let files = [("config.json", config), ("preprocessor_config.json", preprocessor), ("model.safetensors", &weights)];
    for (name, bytes) in files.into_iter().filter(|(_, bytes)| !bytes.is_empty()) {
        fs::write(scratch.join(name), bytes).expect("a scratch file");
    }
    let Ok(source) = ModelSource::open(scratch.path(), None) else { return false };
    let Ok(imported) = import_model(&source, &spec, precision) else { return false };
    imported.weights.stored_bytes() < 16 << 20 && imported.weights.read().is_ok()
}

/// The golden models in one safetensors file.
pub(crate) fn seeds() -> Seeds {
    let mut seeds = Seeds::new();
    for (name, folder) in folders(&golden().join("models")) {
        let weights = folder.join("model.safetensors");
        if name.contains("refused") || !weights.is_file() {
            continue;
        }
        let json = |name: &str| {
            let path = folder.join(name);
            if path.is_file() { file(&path) } else { Vec::new() }
        };
        let [config, preprocessor] = [json("config.json"), json("preprocessor_config.json")];
        let said: serde_json::Value = serde_json::from_slice(&json("golden.json")).expect("golden.json is JSON");
        let stated = said["model"].to_string().into_bytes();
        let text = text_of(&weights);
        seeds.push((name, joined(0, &[&config, &preprocessor, &stated], text.as_bytes())));
    }
    seeds
}
