//! What the shared library's link needs, and the stamp that results carry.

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=.git/HEAD");
    println!("cargo::rerun-if-changed=.git/logs/HEAD");

    // The panic fence of the C boundary is catch_unwind: with panic=abort it would never fire.
    let panic = std::env::var("CARGO_CFG_PANIC").unwrap_or_default();
    assert!(panic == "unwind", "coverslip needs panic = \"unwind\", found {panic:?}: remove the panic setting");

    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("linux") {
        // A host thread that once called the library may end after dlclose (rust-lang/rust#91979): stay mapped.
        println!("cargo::rustc-cdylib-link-arg=-Wl,-z,nodelete");
        // The major version of the C contract; the installed package links by this name.
        println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,libcoverslip.so.1");
    }
    println!("cargo::rustc-env=COVERSLIP_COMMIT={}", commit().unwrap_or_else(|| "unknown".into()));
}

/// The source's commit; none outside a checkout (a packaged source, say).
fn commit() -> Option<String> {
    let out = Command::new("git").args(["rev-parse", "--short=12", "HEAD"]).output().ok()?;
    let text = String::from_utf8(out.stdout).ok()?;
    (out.status.success() && !text.trim().is_empty()).then(|| text.trim().to_owned())
}
