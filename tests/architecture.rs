//! The invariants of ARCHITECTURE.md that the source itself can break.

use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust file below a folder (or the file itself): path from the root, and the text without its tests.
fn sources(place: &str) -> Vec<(String, String)> {
    fn walk(path: &Path, found: &mut Vec<PathBuf>) {
        if path.is_dir() {
            let entries = std::fs::read_dir(path).expect("a folder of the checkout");
            entries.for_each(|entry| walk(&entry.expect("an entry").path(), found));
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path.to_owned());
        }
    }
    let mut paths = Vec::new();
    walk(&root().join(place), &mut paths);
    assert!(!paths.is_empty(), "{place} has no source");
    let read = |path: &PathBuf| {
        let text = std::fs::read_to_string(path).expect("a source file");
        let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or("").to_owned();
        (path.strip_prefix(root()).expect("below the root").display().to_string(), code)
    };
    paths.iter().map(read).collect()
}

/// Fails with every line of `place` that has one of `words`, comments apart.
fn expect_without(place: &str, words: &[&str], why: &str) {
    let mut found = Vec::new();
    for (path, code) in sources(place) {
        for (number, line) in code.lines().enumerate() {
            let line = line.split("//").next().unwrap_or("");
            if words.iter().any(|word| line.contains(word)) {
                found.push(format!("{path}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    assert!(found.is_empty(), "{why}\n{}", found.join("\n"));
}

#[test]
fn engine_knows_nothing_of_slides() {
    expect_without("src/engine", &["slide", "Slide", "intake", "judge", "workers"], "engines know tiles as bytes");
}

#[test]
fn judge_knows_nothing_of_engines() {
    expect_without("src/judge", &["engine::", "rten", "Lane"], "the judge sees evidence, not engines");
}

#[test]
fn batch_reads_no_clock_and_does_no_io() {
    let words = ["Instant", "SystemTime", "std::fs", "std::io", "crate::"];
    expect_without("src/batch.rs", &words, "when to close a batch is a pure function");
}

#[test]
fn intake_knows_nothing_of_what_comes_after() {
    expect_without("src/intake", &["engine", "judge::", "outbox", "runtime", "slide::"], "data flows one way");
}

#[test]
fn only_the_boundary_is_unsafe() {
    let folders = ["src", "bundle/src", "lab/src", "tensorrt/src", "tools/gpu/src"];
    for (path, code) in folders.into_iter().flat_map(sources) {
        let allowed = path.starts_with("src/abi/")
            || ["src/engine/tensorrt/cuda.rs", "tools/gpu/src/cuda.rs"].contains(&path.as_str())
            || path.starts_with("tensorrt/src/sys/")
            || ["lab/src/host.rs", "src/lib.rs", "tensorrt/src/lib.rs"].contains(&path.as_str());
        let lines = code.lines().map(|line| line.split("//").next().unwrap_or(""));
        assert!(allowed || !lines.into_iter().any(|line| line.contains("unsafe")), "{path} has unsafe");
    }
}

#[test]
fn the_library_never_prints() {
    let words = ["println!", "eprintln!", "print!(", "dbg!", "std::io::stdout", "std::io::stderr"];
    expect_without("src", &words, "the host's console is the host's");
    expect_without("bundle/src", &words, "the host's console is the host's");
}

#[test]
fn the_lab_is_a_host_like_any_other() {
    expect_without("lab/src", &["coverslip::"], "the lab speaks to the plugin through the C ABI only");
}

#[test]
fn the_code_map_names_what_is_there() {
    let page = std::fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md");
    for (path, _) in sources("src") {
        let parts: Vec<&str> = path.trim_end_matches(".rs").split('/').collect();
        let name = if parts.len() > 2 { parts[1] } else { parts[parts.len() - 1] };
        assert!(
            name == "lib" || name == "error" || name == "thread" || page.contains(name),
            "{path} is not on the map"
        );
    }
}
