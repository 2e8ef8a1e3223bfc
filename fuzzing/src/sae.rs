//! Folders of sparse autoencoders, in every format that is imported.

use std::fs;

use coverslip_import::{SaeOptions, StoreAs, import_sae};
use coverslip_testkit::Scratch;
use serde_json::Value;

use crate::input::{Input, Seeds, file, folders, golden, joined};
use crate::tensors::{file_of_text, text_of};
use crate::torch::{archive, pickle_of};

/// Names of the configuration and of the weights, by the input's first byte. Weights of a `.pt` are its pickle or the
/// whole file, others a text of tensors.
const FILES: [(&str, &str); 6] = [
    ("cfg.json", "sae_weights.safetensors"),
    ("cfg.json", "sae.safetensors"),
    ("config.json", "ae.pt"),
    ("config.json", "sae.pt"),
    ("config.json", "sae_bare.safetensors"),
    ("config.json", "autoencoder.pt"),
];
/// The bit of the first byte that leaves out the configuration.
const BARE: u8 = 0x40;
/// The bit by which a `.pt` is there as a whole, with its values.
const WHOLE: u8 = 0x20;
/// Golden SAEs whose pickles are seeds too: they are read with any values.
const PICKLES: [&str; 3] = ["dictionary_autoencoder", "openai_relu", "overcomplete_sae"];

/// A configuration and weights.
pub(crate) fn sae(data: &[u8]) -> bool {
    let mut input = Input::new(data);
    let (choice, options) = (input.byte(), input.byte());
    let (configuration_file, weights_file) = FILES[usize::from(choice & !(BARE | WHOLE)) % FILES.len()];
    let configuration = input.part();
    let weights = input.rest();
    let weights = match (weights_file.ends_with(".pt"), choice & WHOLE == 0) {
        (true, true) => Some(archive(weights)),
        (true, false) => Some(weights.to_vec()),
        (false, _) => file_of_text(weights),
    };
    let Some(weights) = weights else { return false };
    let scratch = Scratch::new("fuzz");
    if choice & BARE == 0 {
        fs::write(scratch.join(configuration_file), configuration).expect("a scratch file");
    }
    fs::write(scratch.join(weights_file), weights).expect("a scratch file");
    let options = SaeOptions {
        activation_scale: (options & 1 != 0).then_some(0.5),
        k: (options & 2 != 0).then_some(3),
        precision: [StoreAs::Keep, StoreAs::Half, StoreAs::Single][usize::from(options >> 2) % 3],
    };
    import_sae(scratch.path(), &options).is_ok()
}

/// Every golden SAE that the importer reads, with the options that it needs: the replay says which one is refused.
pub(crate) fn seeds() -> Seeds {
    let mut seeds = Seeds::new();
    for (name, folder) in folders(&golden().join("sae")) {
        let said: Value = serde_json::from_slice(&file(&folder.join("golden.json"))).expect("golden.json is JSON");
        if said.get("refused").is_some() {
            continue;
        }
        let weights = said.get("weights").and_then(Value::as_str);
        let is_there = |file: &str| weights.map_or_else(|| folder.join(file).is_file(), |weights| weights == file);
        let place = FILES.iter().position(|(_, file)| is_there(file));
        let place = place.unwrap_or_else(|| panic!("{name}: none of FILES is its file of weights"));
        let (configuration, path) = (folder.join(FILES[place].0), folder.join(FILES[place].1));
        let bare = if configuration.is_file() { 0 } else { BARE };
        let text = if bare == 0 { file(&configuration) } else { Vec::new() };
        let needs = |option: &str| u8::from(said.pointer(&format!("/options/{option}")).is_some());
        let seed = |bits: u8, weights: &[u8]| {
            let mut seed = joined(place as u8 | bare | bits, &[&text], weights);
            seed.insert(1, needs("activation_scale") | needs("k") << 1);
            seed
        };
        if !FILES[place].1.ends_with(".pt") {
            seeds.push((name, seed(0, text_of(&path).as_bytes())));
            continue;
        }
        let whole = file(&path);
        if PICKLES.contains(&name.as_str()) {
            seeds.push((format!("{name}-pickle"), seed(0, pickle_of(&whole))));
        }
        seeds.push((name, seed(WHOLE, &whole)));
    }
    seeds
}
