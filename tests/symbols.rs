//! What the shared library shows to the loader: one symbol, one name, and that it wants to stay mapped.
#![cfg(target_os = "linux")]

use std::fmt::Write;
use std::process::Command;

/// A dependency's `#[no_mangle]` function would be exported too, and could collide with the host's own.
#[test]
fn one_symbol_is_exported() {
    let listing =
        coverslip_testkit::stdout(Command::new("nm").args(["-D", "--defined-only"]).arg(coverslip_testkit::library()));
    let mut symbols = String::new();
    for name in listing.lines().filter_map(|line| line.split_whitespace().last()) {
        writeln!(symbols, "{name}").unwrap();
    }
    coverslip_testkit::assert_golden(&coverslip_testkit::root().join("plugin_abi/golden/symbols.txt"), &symbols);
}

/// `-z nodelete`: without it a host thread that once called the library crashes when it ends after dlclose. The
/// soname carries the major version of the contract: a host that was linked with version 1 never gets version 2.
#[test]
fn the_library_stays_mapped_and_names_its_contract() {
    let dynamic = coverslip_testkit::stdout(Command::new("readelf").args(["-dW"]).arg(coverslip_testkit::library()));
    let line = |tag: &str| dynamic.lines().find(|line| line.contains(tag)).unwrap_or_default().to_owned();
    assert!(line("(FLAGS_1)").contains("NODELETE"), "no NODELETE in {dynamic}");
    let soname = format!("[libcoverslip.so.{}]", coverslip_plugin_abi::ABI_MAJOR);
    assert!(line("(SONAME)").ends_with(&soname), "no {soname} in {dynamic}");
    assert!(!dynamic.contains("TEXTREL"), "relocations in the code");
}

/// Only what every Linux has: a plugin that drags in a library of its own collides with the host's.
#[test]
fn only_the_c_library_is_needed() {
    let dynamic = coverslip_testkit::stdout(Command::new("readelf").args(["-dW"]).arg(coverslip_testkit::library()));
    for line in dynamic.lines().filter(|line| line.contains("(NEEDED)")) {
        let allowed = ["libc.so", "libm.so", "libgcc_s.so", "libpthread.so", "libdl.so", "librt.so", "ld-linux"];
        assert!(allowed.iter().any(|name| line.contains(name)), "an unexpected dependency: {line}");
    }
}
