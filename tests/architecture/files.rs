//! Files are written and opened in one place, `crates/files`.
//!
//! A file that appears under its name before it is whole is half a file after a power cut or on a full disk, and a new
//! folder whose name is not synced is gone. A file that is opened without a look at what it is may be a named pipe, which
//! keeps the host waiting for ever.

use crate::sources::{Source, tokens};
use crate::{CRATES, root};

/// Functions by which a file is written or created, as the tokens of a call.
const WRITES: [&[&str]; 20] = [
    &["fs", "::", "write"],
    &["fs", "::", "rename"],
    &["fs", "::", "copy"],
    &["fs", "::", "hard_link"],
    &["fs", "::", "soft_link"],
    &["File", "::", "create"],
    &["File", "::", "create_new"],
    &["File", "::", "create_buffered"],
    &["File", "::", "options"],
    &["OpenOptions"],
    &["create_dir"],
    &["create_dir_all"],
    &["DirBuilder"],
    &["symlink"],
    &["Stdio", "::", "from"],
    &["Writer", "::", "from_path"],
    &["WriterBuilder", "::", "from_path"],
    &["save_buffer"],
    &["save_buffer_with_format"],
    &["serialize_to_file"],
];
/// Functions by which a file is opened to be read.
const READS: [&[&str]; 9] = [
    &["fs", "::", "read"],
    &["fs", "::", "read_to_string"],
    &["File", "::", "open"],
    &["File", "::", "open_buffered"],
    &["ImageReader", "::", "open"],
    &["image", "::", "open"],
    &["image", "::", "image_dimensions"],
    &["Reader", "::", "from_path"],
    &[".", "from_path"],
];
/// Names of `std::fs` that may not be imported by themselves, because their calls would have no mark of it.
const IMPORTED: [&str; 6] = ["write", "rename", "copy", "hard_link", "read", "read_to_string"];

/// Files that may, and why.
const MAY_WRITE: [(&str, &str); 3] = [
    ("crates/engine/src/tensorrt/private.rs", "a folder for this user alone, of plans that can be built again"),
    ("src/engine/remote/process/linux.rs", "a socket for the worker, no file"),
    ("worker/inherited/linux.rs", "a file of the kernel's: /proc/self/oom_score_adj"),
];
const MAY_READ: [(&str, &str); 4] = [
    ("src/abi/library.rs", "a file of the kernel's: /proc/self/maps"),
    ("crates/standin/src/maps.rs", "a file of the kernel's: /proc/self/maps"),
    ("lab/src/bundle/memory.rs", "a file of the kernel's: /proc/meminfo"),
    ("crates/base/src/pidfd.rs", "a file of the kernel's: /proc/self/fdinfo"),
];

/// The ways of `ways` that `code` uses.
fn used(code: &str, ways: &[&[&str]]) -> Vec<String> {
    let tokens = tokens(code);
    let names: Vec<&str> = tokens.iter().map(String::as_str).collect();
    let calls = ways.iter().filter(|way| names.windows(way.len()).any(|found| found == **way));
    let mut found: Vec<String> = calls.map(|way| way.concat()).collect();
    for (at, _) in names.windows(3).enumerate().filter(|(_, found)| *found == ["fs", "::", "{"]) {
        let group = names[at + 3..].iter().take_while(|name| **name != "}");
        let imported = group.filter(|name| IMPORTED.contains(name) && ways.iter().any(|way| way.last() == Some(name)));
        found.extend(imported.map(|name| format!("use std::fs::{{{name}}}")));
    }
    found
}

/// Every source outside `crates/files` that uses one of `ways`, except `allowed`, each of which has to be needed.
fn elsewhere(ways: &[&[&str]], allowed: &[(&str, &str)]) -> Vec<String> {
    let mut found = Vec::new();
    let mut needed: Vec<&str> = Vec::new();
    let folders = CRATES.iter().map(|(_, folder)| *folder);
    // Tests write by themselves, so what they share does too.
    let folders = folders.filter(|folder| !["crates/testkit/src", "fuzzing/src", "crates/files/src"].contains(folder));
    for Source { path, code } in folders.flat_map(|folder| Source::below(&root(), folder)) {
        let used = used(&code, ways);
        match allowed.iter().find(|(allowed, _)| *allowed == path) {
            Some((allowed, _)) if !used.is_empty() => needed.push(allowed),
            None if !used.is_empty() => found.push(format!("{path}: {}", used.join(", "))),
            _ => {}
        }
    }
    let idle = allowed.iter().filter(|(path, _)| !needed.contains(path));
    found.extend(idle.map(|(path, _)| format!("{path}: is allowed what it no longer does")));
    found
}

#[test]
fn files_are_written_in_one_place() {
    let found = elsewhere(&WRITES, &MAY_WRITE);
    assert!(found.is_empty(), "written by themselves; use coverslip-files:\n{}", found.join("\n"));
}

#[test]
fn files_are_opened_in_one_place() {
    let found = elsewhere(&READS, &MAY_READ);
    assert!(found.is_empty(), "opened without a look at what they are; use coverslip-files:\n{}", found.join("\n"));
}

#[test]
fn every_way_is_found() {
    for code in [
        "std::fs::write(path, bytes)?",
        "let file = File::create(path)?;",
        "use std::fs::{self, rename};",
        "use std::fs::write;",
        "image::save_buffer(&path, &pixels, 1, 1, kind)?",
        "let mut options = OpenOptions::new();",
        "csv::Writer::from_path(path)?",
        "command.stdout(Stdio::from(file))",
        "std::os::unix::fs::symlink(a, b)",
        "fs::create_dir_all(folder)?",
    ] {
        assert!(!used(code, &WRITES).is_empty(), "{code}");
    }
    for code in
        ["fs::read(path)", "File::open(path)", "use std::fs::{read}", "csv::ReaderBuilder::new().from_path(path)"]
    {
        assert!(!used(code, &READS).is_empty(), "{code}");
    }
    for code in ["coverslip_files::open(path)", "fs::read_dir(path)", "OnnxFile::open(path)", "file.read(&mut bytes)"] {
        assert!(used(code, &READS).is_empty() && used(code, &WRITES).is_empty(), "{code}");
    }
}
