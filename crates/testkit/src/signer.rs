//! A key of minisign that signs what tests make.

use std::fs;
use std::path::{Path, PathBuf};

use minisign::KeyPair;

/// A new key pair.
pub struct Signer(KeyPair);

impl Default for Signer {
    fn default() -> Signer {
        Signer::new()
    }
}

impl Signer {
    pub fn new() -> Signer {
        Signer(KeyPair::generate_unencrypted_keypair().expect("random numbers"))
    }

    /// The public key as a host names it.
    pub fn public(&self) -> String {
        self.0.pk.to_base64()
    }

    /// The key's number, as the contract has it.
    pub fn id(&self) -> u64 {
        u64::from_le_bytes(self.0.pk.keynum().try_into().expect("eight bytes"))
    }

    /// Writes the signature of `file` beside it, and returns its path.
    pub fn sign(&self, file: &Path, comment: &str) -> PathBuf {
        let content = fs::File::open(file).expect("the file to sign");
        let signature = minisign::sign(None, &self.0.sk, content, Some(comment), None).expect("a signature");
        let path = PathBuf::from(format!("{}.minisig", file.display()));
        fs::write(&path, signature.into_string()).expect("the signature can be written");
        path
    }
}
