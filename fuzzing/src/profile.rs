//! Opening a profile of which one file is a stranger's.

use std::fs;

use coverslip_bundle::tensors::to_safetensors;
use coverslip_bundle::{Bundle, Digest};
use coverslip_profile::{PROFILE_FILE, Profile, TENSORS_FILE, synthetic};
use coverslip_testkit::{Scratch, read_tensors};
use serde_json::{Value, json};
use std::sync::OnceLock;

use crate::bundle::{vit, written};
use crate::input::{Input, Seeds, joined};
use crate::tensors::of_text;

/// A manifest as it stands; with the true digest of the tensors; tensors; tensors as text over those that are there.
pub(crate) fn profile(data: &[u8]) -> bool {
    let mut input = Input::new(data);
    let choice = input.below(4);
    let part = input.rest();
    let [manifest, tensors] = files();
    let scratch = Scratch::new("fuzz");
    let (mut manifest, mut tensors) = (manifest.clone(), tensors.clone());
    match choice {
        0 | 1 => manifest = part.to_vec(),
        2 => tensors = part.to_vec(),
        _ => {
            let Some(changed) = of_text(part) else { return false };
            let path = scratch.join(TENSORS_FILE);
            fs::write(&path, &tensors).expect("a scratch file");
            let mut all = read_tensors(&path);
            all.extend(changed);
            tensors = to_safetensors(&all).expect("tensors of equal lengths");
        }
    }
    if choice > 0
        && let Ok(mut stated) = serde_json::from_slice::<Value>(&manifest)
    {
        if let Some(entry) = stated.pointer_mut(&format!("/files/{TENSORS_FILE}")) {
            *entry = json!({ "bytes": tensors.len(), "sha256": Digest::of(&tensors).to_string() });
        }
        manifest = stated.to_string().into_bytes();
    }
    fs::write(scratch.join(PROFILE_FILE), manifest).expect("a scratch file");
    fs::write(scratch.join(TENSORS_FILE), tensors).expect("a scratch file");
    Profile::open(scratch.path()).is_ok()
}

/// Manifest and tensors of a profile of two scanners.
fn files() -> &'static [Vec<u8>; 2] {
    static FILES: OnceLock<[Vec<u8>; 2]> = OnceLock::new();
    FILES.get_or_init(|| {
        let scratch = Scratch::new("fuzz");
        fs::create_dir(scratch.join("bundle")).expect("a scratch folder");
        written(vit(), &scratch.join("bundle"));
        let bundle = Bundle::open(&scratch.join("bundle")).expect("a bundle of our own");
        let profile = synthetic::profile(bundle.manifest(), bundle.digest(), &["a", "b"], 20);
        let folder = scratch.join("profile");
        coverslip_profile::write(&profile, &folder, false).expect("a profile");
        [PROFILE_FILE, TENSORS_FILE].map(|name| fs::read(folder.join(name)).expect("the profile's file"))
    })
}

pub(crate) fn seeds() -> Seeds {
    let [manifest, tensors] = files();
    let parts: [(&str, &[u8]); 4] = [
        ("manifest", manifest),
        ("sealed", manifest),
        ("tensors", tensors),
        ("text", b"scanner.0.mean.last f32 8 0.5\n"),
    ];
    (0u8..).zip(parts).map(|(choice, (name, part))| (name.to_owned(), joined(choice, &[], part))).collect()
}
