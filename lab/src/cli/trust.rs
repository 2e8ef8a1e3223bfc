//! The options that say whose bundles and profiles are taken.

use std::error::Error;

use coverslip_bundle::signature::{PublicKey, Trust};

use crate::sign;

/// Keys that are trusted
#[derive(clap::Args, Debug, Clone)]
pub(super) struct Keys {
    /// A public key whose signatures count: its file, or the text that `coverslip sign keygen` prints; for more keys
    /// give the option again
    #[arg(long = "trusted-key", value_name = "KEY")]
    trusted_keys: Vec<String>,
}

impl Keys {
    pub(super) fn read(&self) -> Result<Vec<PublicKey>, Box<dyn Error>> {
        self.trusted_keys.iter().map(|given| sign::public(given)).collect()
    }
}

/// Whose bundles and profiles are taken
#[derive(clap::Args, Debug, Clone)]
pub(super) struct TrustArgs {
    #[command(flatten)]
    keys: Keys,
    /// Refuse a bundle or profile that is not signed by one of these keys
    #[arg(long, requires = "trusted_keys")]
    require_signature: bool,
}

impl TrustArgs {
    pub(super) fn trust(&self) -> Result<Trust, Box<dyn Error>> {
        Ok(Trust { keys: self.keys.read()?, required: self.require_signature })
    }
}
