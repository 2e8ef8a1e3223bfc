//! Who made a bundle or profile, for the pages that people read.

use std::path::Path;

use coverslip_bundle::signature::{Signature, Signed};

/// What is known of the signature of the file `name` in `folder`; `signed`: what was accepted when it was opened. A
/// comment that was not checked is shown as such: anybody can have written it.
pub(crate) fn origin(folder: &Path, name: &str, signed: Option<&Signed>) -> String {
    if let Some(Signed { key, comment }) = signed {
        return format!("by the trusted key {key}: {comment}");
    }
    match Signature::read(folder, name) {
        Ok(None) => "none".to_owned(),
        Ok(Some(found)) => format!(
            "NOT CHECKED (name the key with --trusted-key): by the key {}, it says: {}",
            found.key(),
            found.comment()
        ),
        Err(error) => error.to_string(),
    }
}
