//! `coverslip validate host`: the examples keep the contract, and a host that breaks it is told each fault.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output};

use crate::programs::{self, Language};
use crate::{bundle, installed};

fn validate(scratch: &coverslip_testkit::Scratch, host: &Path, arguments: &[&Path]) -> (Output, String) {
    let json = scratch.join("verdict.json");
    let mut command = Command::new(env!("CARGO_BIN_EXE_coverslip"));
    command.args(["validate", "host", "--poll-within", "600", "--library"]).arg(coverslip_testkit::library());
    command.arg("--json").arg(&json).arg("--").arg(host).args(arguments);
    let output = command.output().expect("coverslip runs");
    (output, std::fs::read_to_string(json).unwrap_or_default())
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn the_examples_keep_the_contract() {
    let scratch = coverslip_testkit::Scratch::new("validated");
    let prefix = installed(&scratch);
    for language in [Language::C, Language::Cpp] {
        let Some(folder) = programs::build(language, &scratch, &prefix) else { continue };
        // 06 wants a library of TensorRT and a folder for its plan.
        for name in language.examples().iter().filter(|name| !name.starts_with("06")) {
            let (output, json) = validate(&scratch, &folder.join(name), &[&bundle(&prefix)]);
            assert!(output.status.success(), "{name}: {}", said(&output));
            assert!(json.contains("\"violations\": []") && !json.contains("\"runtimes\": 0"), "{name}: {json}");
        }
    }
}

#[test]
fn a_host_with_planted_faults_is_told_each() {
    let scratch = coverslip_testkit::Scratch::new("planted");
    let prefix = installed(&scratch);
    let program = scratch.join("planted");
    let mut compiler = coverslip_testkit::cc();
    compiler.arg("-std=c11").arg(coverslip_testkit::root().join("lab/tests/hosts/planted.c")).arg("-o").arg(&program);
    compiler.arg("-I").arg(prefix.join("include")).arg("-L").arg(prefix.join("lib")).args(["-lcoverslip", "-pthread"]);
    coverslip_testkit::run(compiler.arg(format!("-Wl,-rpath,{}", prefix.join("lib").display())));
    let (output, json) = validate(&scratch, &program, &[&bundle(&prefix)]);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    let text = said(&output);
    let told: BTreeSet<&str> = text.lines().filter_map(|line| line.split_once(": ")).map(|(rule, _)| rule).collect();
    let planted = [
        "after-finish",
        "argument",
        "buffers-overlap",
        "control-in-callback",
        "format",
        "frame-changed",
        "frame-memory",
        "frame-outside",
        "frame-too-large",
        "log-calls-library",
        "not-closed",
        "one-submit-thread",
        "record-size",
        "results-dropped",
        "stale-handle",
        "struct-size",
    ];
    for rule in planted {
        assert!(told.contains(rule), "{rule} was not told:\n{text}");
        assert!(json.contains(&format!("\"{rule}\"")), "{rule} is not in the summary");
    }
    assert!(text.contains("The contract: \"A stale handle is refused with INVALID_HANDLE.\""), "{text}");
}

#[test]
fn a_host_that_never_asks_for_the_library_is_told_how_to() {
    let scratch = coverslip_testkit::Scratch::new("unasked");
    let (output, _) = validate(&scratch, Path::new("/bin/true"), &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("opened no runtime"), "{}", said(&output));
}
