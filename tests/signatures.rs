//! Signed bundles and profiles, as a host sees them.
#![allow(clippy::undocumented_unsafe_blocks, reason = "each is a call of the C ABI with live pointers")]

mod support {
    pub(crate) mod host;
}

use std::ffi::CString;
use std::fs;
use std::path::{Path, PathBuf};

use coverslip_bundle::{Bundle, MANIFEST_FILE};
use coverslip_plugin_abi::*;
use coverslip_profile::{PROFILE_FILE, synthetic, write};
use coverslip_testkit::Signer;
use support::host::{Answer, TestRuntime, open_with};

/// A bundle and a profile for it.
struct Site {
    bundle: PathBuf,
    profile: PathBuf,
}

impl Site {
    fn new(name: &str) -> Site {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("signatures-{name}"));
        let (bundle, profile) = (folder.join("bundle"), folder.join("profile"));
        coverslip_testkit::bundle(&bundle);
        let opened = Bundle::open(&bundle).expect("the bundle");
        write(&synthetic::profile(opened.manifest(), opened.digest(), &["A"], 99), &profile, true).expect("a profile");
        let _ = fs::remove_file(profile.join("profile.json.minisig"));
        Site { bundle, profile }
    }

    /// Opens the bundle, and the profile if `profile`, trusting `keys`.
    fn open(&self, profile: bool, keys: &[&Signer], flags: u32) -> Answer<TestRuntime> {
        let path = c_path(&self.profile);
        let texts: Vec<CString> = keys.iter().map(|key| CString::new(key.public()).unwrap()).collect();
        let pointers: Vec<_> = texts.iter().map(|text| text.as_ptr()).collect();
        open_with(&self.bundle, |desc| {
            desc.flags = flags;
            if profile {
                desc.profile_path = path.as_ptr();
            }
            if !pointers.is_empty() {
                (desc.trusted_keys, desc.trusted_key_count) = (pointers.as_ptr(), pointers.len() as u32);
            }
        })
    }

    #[track_caller]
    fn refuses(&self, profile: bool, keys: &[&Signer], flags: u32, part: &str) {
        let refusal = self.open(profile, keys, flags).err().expect("it should be refused");
        assert_eq!(refusal.code, SIGNATURE_INVALID, "{}", refusal.message);
        assert!(refusal.message.contains(part), "`{part}` is not in: {}", refusal.message);
    }
}

fn c_path(path: &Path) -> CString {
    CString::new(path.to_str().expect("UTF-8")).expect("no NUL")
}

/// The keys of bundle and profile that were accepted.
fn ids(runtime: &TestRuntime) -> (u64, u64) {
    let info = runtime.info();
    (info.bundle_key_id, info.profile_key_id)
}

#[test]
fn a_host_that_requires_signatures_opens_what_its_keys_signed_and_nothing_else() {
    let (site, ours, old) = (Site::new("required"), Signer::new(), Signer::new());
    let (manifest, profile) = (site.bundle.join(MANIFEST_FILE), site.profile.join(PROFILE_FILE));
    let required = RUNTIME_REQUIRE_SIGNATURE;
    site.refuses(false, &[&ours], required, "bundle is not signed");
    ours.sign(&manifest, "the bundle");
    assert_eq!(ids(&site.open(false, &[&ours], required).expect("signed")), (ours.id(), 0));
    site.refuses(true, &[&ours], required, "profile is not signed");
    // While the keys change, both count, each for what it signed; then the old one is dropped.
    old.sign(&profile, "the profile");
    assert_eq!(ids(&site.open(true, &[&old, &ours], required).expect("both keys")), (ours.id(), old.id()));
    site.refuses(true, &[&ours], required, "profile.json.minisig is by the key");
    ours.sign(&profile, "the profile");
    assert_eq!(ids(&site.open(true, &[&ours], required).expect("signed again")), (ours.id(), ours.id()));
    site.refuses(true, &[&old], required, "manifest.json.minisig is by the key");

    // A right signature of something else.
    fs::copy(site.profile.join("profile.json.minisig"), site.bundle.join("manifest.json.minisig")).unwrap();
    site.refuses(false, &[&ours], required, "is not the signature of this file");
}

#[test]
fn a_host_that_names_keys_without_requiring_them_takes_what_is_unsigned_and_says_so() {
    let (site, ours, stranger) = (Site::new("optional"), Signer::new(), Signer::new());
    let manifest = site.bundle.join(MANIFEST_FILE);
    assert_eq!(ids(&site.open(true, &[&ours], 0).expect("unsigned")), (0, 0));
    stranger.sign(&manifest, "");
    site.refuses(true, &[&ours], 0, "by the key");
    assert_eq!(ids(&site.open(true, &[], 0).expect("a host of 1.0 checks nothing")), (0, 0));
    let digest = |keys: &[&Signer]| site.open(true, keys, 0).expect("opens").info().configuration_digest;
    assert_ne!(digest(&[]), digest(&[&stranger]), "who is trusted is part of the configuration");
}
