//! Folders of sparse autoencoders, in every format that is imported.

use std::fs;

use coverslip_import::{SaeOptions, StoreAs, import_sae};
use coverslip_testkit::Scratch;

use crate::input::{Input, Seeds, file, folders, golden, joined};
use crate::tensors::{file_of_text, text_of};
use crate::torch::{archive, pickle_of};

/// Names of the configuration and of the weights, by the input's first byte. Weights of a `.pt` are its pickle, others
/// a text of tensors.
const FILES: [(&str, &str); 5] = [
    ("cfg.json", "sae_weights.safetensors"),
    ("cfg.json", "sae.safetensors"),
    ("config.json", "ae.pt"),
    ("config.json", "sae.pt"),
    ("config.json", "sae_bare.safetensors"),
];
/// The bit of the first byte that leaves out the configuration.
const BARE: u8 = 0x40;

/// A configuration and weights.
pub(crate) fn sae(data: &[u8]) -> bool {
    let mut input = Input::new(data);
    let (choice, options) = (input.byte(), input.byte());
    let (configuration_file, weights_file) = FILES[usize::from(choice & !BARE) % FILES.len()];
    let configuration = input.part();
    let weights = input.rest();
    let weights = if weights_file.ends_with(".pt") { Some(archive(weights)) } else { file_of_text(weights) };
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

/// The golden files of each library whose weights are small, and one that needs each option.
pub(crate) fn seeds() -> Seeds {
    let mut seeds = Seeds::new();
    for (name, folder) in folders(&golden().join("sae")) {
        if name.contains("refused") {
            continue;
        }
        for (choice, (configuration_file, weights_file)) in (0u8..).zip(FILES) {
            let path = folder.join(weights_file);
            if !path.is_file() {
                continue;
            }
            let configuration = folder.join(configuration_file);
            let bare = if configuration.is_file() { 0 } else { BARE };
            let text = if bare == 0 { file(&configuration) } else { Vec::new() };
            let weights = if weights_file.ends_with(".pt") {
                pickle_of(&file(&path)).to_vec()
            } else {
                text_of(&path).into_bytes()
            };
            for options in [0u8, 1, 2] {
                let mut seed = joined(choice | bare, &[&text], &weights);
                seed.insert(1, options);
                if sae(&seed) {
                    seeds.push((name.clone(), seed));
                    break;
                }
            }
        }
    }
    seeds
}
