//! The invariants of ARCHITECTURE.md that can be checked in the sources.

mod circles;
mod dependencies;
mod files;
mod imports;
mod sources;

use std::collections::BTreeSet;
use std::path::PathBuf;

use circles::{between_siblings, said};
use sources::Source;

/// Every crate of the workspace, by the name it has in code, and its sources.
const CRATES: [(&str, &str); 21] = [
    ("coverslip", "src"),
    ("coverslip_worker", "worker"),
    ("coverslip_base", "crates/base/src"),
    ("coverslip_engine", "crates/engine/src"),
    ("coverslip_wire", "crates/wire/src"),
    ("coverslip_plugin_abi", "plugin_abi/src"),
    ("coverslip_analysis", "crates/analysis/src"),
    ("coverslip_bundle", "crates/bundle/src"),
    ("coverslip_files", "crates/files/src"),
    ("coverslip_fuzzing", "fuzzing/src"),
    ("coverslip_import", "crates/import/src"),
    ("coverslip_lab", "lab/src"),
    ("coverslip_numerics", "crates/numerics/src"),
    ("coverslip_pixels", "crates/pixels/src"),
    ("coverslip_profile", "crates/profile/src"),
    ("coverslip_runner", "crates/runner/src"),
    ("coverslip_slides", "crates/slides/src"),
    ("coverslip_standin", "crates/standin/src"),
    ("coverslip_tensorrt", "crates/tensorrt/src"),
    ("coverslip_testkit", "crates/testkit/src"),
    ("coverslip_vit", "crates/vit/src"),
];

/// The files that name instructions, and the one that enables them.
const KERNELS: [&str; 10] = [
    "avx2",
    "avx512",
    "avx512_bf16",
    "avx512_fp16",
    "avx512_vnni",
    "avx_vnni",
    "entries",
    "neon",
    "neon_dot",
    "neon_fp16",
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn nothing_imports_in_a_circle() {
    let files = imports::arrows(&root(), &CRATES);
    assert!(files.len() > 100, "{} files with imports: the sources were not read", files.len());
    let siblings = between_siblings(&files);
    let found = [&files, &siblings].map(|arrows| said(&circles::circles(arrows), arrows)).concat();
    assert!(found.is_empty(), "{found}");
}

/// Fails with every line below `place` that has one of `words`, except in comments.
fn expect_without(place: &str, words: &[&str], why: &str) {
    let mut found = Vec::new();
    for Source { path, code } in Source::below(&root(), place) {
        for (number, line) in code.lines().enumerate() {
            if words.iter().any(|word| line.contains(word)) {
                found.push(format!("{path}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    assert!(found.is_empty(), "{why}\n{}", found.join("\n"));
}

#[test]
fn engine_knows_nothing_of_slides() {
    for folder in ["src/engine", "crates/engine/src", "crates/wire/src", "worker"] {
        expect_without(folder, &["slide", "Slide", "tiles::", "judge", "pipeline"], "engines know tiles as bytes");
    }
}

#[test]
fn judge_knows_nothing_of_engines() {
    expect_without("src/judge", &["engine::", "rten", "Lane"], "the judge sees evidence, not engines");
}

#[test]
fn tiles_know_nothing_of_what_comes_after() {
    expect_without("src/tiles", &["engine", "judge::", "outbox", "runtime", "slide::"], "data flows one way");
}

#[test]
fn only_the_boundary_is_unsafe() {
    let folders = CRATES.iter().map(|(_, folder)| *folder).chain(["tools/gpu/src"]);
    for Source { path, code } in folders.flat_map(|folder| Source::below(&root(), folder)) {
        let allowed = path.starts_with("src/abi/")
            || ["crates/engine/src/tensorrt/cuda.rs", "tools/gpu/src/cuda.rs"].contains(&path.as_str())
            // Descriptors and signals that the worker has from its host; how its process faults and ends on Windows.
            || ["worker/inherited/linux.rs", "worker/itself.rs"].contains(&path.as_str())
            // Windows: a thread's place, pipes, processes, jobs and sections.
            || path.starts_with("crates/base/src/windows/")
            // Memory that the host writes and its worker reads.
            || ["crates/base/src/shared.rs", "crates/base/src/memfd.rs", "crates/base/src/policy.rs"].contains(&path.as_str())
            || path.starts_with("crates/tensorrt/src/sys/")
            || path.starts_with("lab/src/host/")
            // OpenSlide's C interface, bound at run time as TensorRT's is; its wrappers give no pointer away.
            || path == "crates/slides/src/openslide/sys.rs"
            || ["crates/pixels/src/avx2.rs", "crates/pixels/src/ahead.rs"].contains(&path.as_str())
            || path.starts_with("fuzzing/src/contract/")
            // Stands between a host and the library, and speaks the contract to both.
            || path.starts_with("crates/standin/src/")
            // An allocator, for tests alone.
            || path == "crates/testkit/src/counting.rs"
            || KERNELS.iter().any(|name| path == format!("crates/vit/src/kernels/{name}.rs"))
            || ["src/lib.rs", "worker/main.rs", "crates/base/src/lib.rs", "crates/engine/src/lib.rs", "crates/wire/src/lib.rs",
                "crates/tensorrt/src/lib.rs", "plugin_abi/src/structs.rs"].contains(&path.as_str());
        let tokens = sources::tokens(&code);
        assert!(allowed || !tokens.iter().any(|token| token == "unsafe"), "{path} has unsafe");
    }
}

#[test]
fn the_library_never_prints() {
    let words = ["println!", "eprintln!", "print!(", "dbg!", "std::io::stdout", "std::io::stderr"];
    expect_without("src", &words, "the host's console is the host's");
    for folder in linked() {
        expect_without(&format!("{folder}/src"), &words, "the host's console is the host's");
    }
}

/// The folders of the workspace's crates that the shared library links, from the manifests.
fn linked() -> BTreeSet<String> {
    let (mut found, mut next) = (BTreeSet::new(), vec![String::new()]);
    while let Some(folder) = next.pop() {
        let manifest = std::fs::read_to_string(root().join(&folder).join("Cargo.toml")).expect("a manifest");
        let dependencies = manifest.split("\n[dependencies]\n").nth(1).unwrap_or("");
        for line in dependencies.lines().take_while(|line| !line.starts_with('[')) {
            let Some((name, _)) = line.split_once(".workspace") else { continue };
            let Some(topic) = name.strip_prefix("coverslip-") else { continue };
            let folder = if topic == "plugin-abi" { "plugin_abi".to_owned() } else { format!("crates/{topic}") };
            if found.insert(folder.clone()) {
                next.push(folder);
            }
        }
    }
    found
}

#[test]
fn the_plugin_links_no_importer() {
    let expected = [
        "crates/base",
        "crates/bundle",
        "crates/engine",
        "crates/files",
        "crates/numerics",
        "crates/pixels",
        "crates/profile",
        "crates/tensorrt",
        "crates/vit",
        "crates/wire",
        "plugin_abi",
    ];
    assert_eq!(linked().iter().map(String::as_str).collect::<Vec<_>>(), expected);
}

#[test]
fn the_lab_is_a_host_like_any_other() {
    expect_without("lab/src", &["coverslip::"], "the lab speaks to the plugin through the C ABI only");
}

#[test]
fn the_code_map_names_every_file() {
    let page = std::fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md");
    for Source { path, .. } in Source::below(&root(), "src") {
        let parts: Vec<&str> = path.trim_end_matches(".rs").split('/').collect();
        let name = if parts.len() > 2 { parts[1] } else { parts[parts.len() - 1] };
        assert!(
            name == "lib" || name == "error" || name == "thread" || page.contains(name),
            "{path} is not on the map"
        );
    }
}
