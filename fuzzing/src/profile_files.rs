//! A profile of our own, of which a stranger changes one file.

use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use coverslip_bundle::tensors::to_safetensors;
use coverslip_bundle::{Bundle, Digest};
use coverslip_profile::{PROFILE_FILE, TENSORS_FILE, synthetic};
use coverslip_testkit::{Scratch, read_tensors};
use serde_json::{Value, json};

use crate::bundle::{vit, written};
use crate::tensors::of_text;

/// The scanners of the profile. The first is the one that most slides of [`crate::contract`] are of.
pub(crate) const SCANNERS: [&str; 2] = ["scanner", "b"];

/// Manifest and tensors.
pub(crate) type Files = [Vec<u8>; 2];

/// The bundle of our own, opened.
pub(crate) fn bundle() -> &'static Bundle {
    static BUNDLE: OnceLock<Bundle> = OnceLock::new();
    BUNDLE.get_or_init(|| {
        let scratch = Scratch::new("fuzz");
        written(vit(), scratch.path());
        Bundle::open(scratch.path()).expect("a bundle of our own")
    })
}

/// A profile of two scanners for [`bundle`].
pub(crate) fn files() -> &'static Files {
    static FILES: OnceLock<Files> = OnceLock::new();
    FILES.get_or_init(|| {
        let profile = synthetic::profile(bundle().manifest(), bundle().digest(), &SCANNERS, 20);
        let scratch = Scratch::new("fuzz");
        let folder = scratch.join("profile");
        coverslip_profile::write(&profile, &folder, false).expect("a profile");
        [PROFILE_FILE, TENSORS_FILE].map(|name| fs::read(folder.join(name)).expect("the profile's file"))
    })
}

/// The files with `part` as the manifest (0); the same, for our bundle and with the true digest of the tensors (1); with
/// `part` as the tensors (2); with tensors of a text over those that are there (3). `None`: a text of large tensors.
pub(crate) fn changed(choice: u8, part: &[u8]) -> Option<Files> {
    let [mut manifest, mut tensors] = files().clone();
    match choice {
        0 | 1 => manifest = part.to_vec(),
        2 => tensors = part.to_vec(),
        _ => tensors = over(&tensors, part)?,
    }
    if choice > 0
        && let Ok(mut stated) = serde_json::from_slice::<Value>(&manifest)
    {
        if let Some(entry) = stated.pointer_mut(&format!("/files/{TENSORS_FILE}")) {
            *entry = json!({ "bytes": tensors.len(), "sha256": Digest::of(&tensors).to_string() });
        }
        if let Some(of) = stated.get_mut("bundle") {
            *of = json!(bundle().digest().to_string());
        }
        manifest = stated.to_string().into_bytes();
    }
    Some([manifest, tensors])
}

/// Tensors of a text over those of a file.
fn over(tensors: &[u8], text: &[u8]) -> Option<Vec<u8>> {
    let changed = of_text(text)?;
    let scratch = Scratch::new("fuzz");
    let path = scratch.join(TENSORS_FILE);
    fs::write(&path, tensors).expect("a scratch file");
    let mut all = read_tensors(&path);
    all.extend(changed);
    Some(to_safetensors(&all).expect("tensors of equal lengths"))
}

/// Writes a profile's files into a folder.
pub(crate) fn put([manifest, tensors]: &Files, folder: &Path) {
    fs::write(folder.join(PROFILE_FILE), manifest).expect("a scratch file");
    fs::write(folder.join(TENSORS_FILE), tensors).expect("a scratch file");
}
