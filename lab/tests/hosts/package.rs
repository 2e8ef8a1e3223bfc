//! What `coverslip install` writes, and what it refuses.

use std::path::Path;
use std::process::Command;

use crate::installed;

#[test]
fn the_package_has_the_names_that_the_loader_expects() {
    let scratch = coverslip_testkit::Scratch::new("package");
    let lib = installed(&scratch).join("lib");
    let target = |name: &str| std::fs::read_link(lib.join(name)).expect("a link").display().to_string();
    assert_eq!(target("libcoverslip.so"), "libcoverslip.so.1");
    assert_eq!(target("libcoverslip.so.1"), concat!("libcoverslip.so.", env!("CARGO_PKG_VERSION")));
    let worker = Path::new(env!("CARGO_BIN_EXE_coverslip")).with_file_name("coverslip-worker");
    let installed = lib.join("coverslip-worker");
    match (worker.is_file(), installed.is_file()) {
        // Beside the library, which looks for it there.
        (true, true) => drop(coverslip_testkit::run(Command::new(&installed).arg("--version"))),
        (true, false) => coverslip_testkit::note("left out: coverslip-worker is of another build: `cargo build` first"),
        (false, _) => coverslip_testkit::note("left out: coverslip-worker is not built; `cargo test` builds it"),
    }
    for entry in std::fs::read_dir(&lib).expect("lib") {
        let name = entry.expect("an entry").file_name();
        assert!(!name.to_string_lossy().starts_with('.'), "a draft was left behind: {name:?}");
    }
    // The profile of the generated slides goes where `scan` looks for it, with the bundle that it belongs to.
    let profile = crate::bundle(lib.parent().expect("the prefix")).with_file_name("demo-profile");
    let (profile, _) = coverslip_profile::Profile::open(&profile).expect("the demo bundle's profile");
    let bundle = coverslip_bundle::Bundle::open(&crate::bundle(lib.parent().expect("the prefix"))).expect("a bundle");
    assert_eq!(profile.bundle, bundle.digest());
    // Nothing knows where it was made.
    for file in ["cmake/coverslip/coverslip-config.cmake", "pkgconfig/coverslip.pc"] {
        let text = std::fs::read_to_string(lib.join(file)).expect(file);
        assert!(!text.contains(&scratch.path().display().to_string()) && !text.contains('@'), "{text}");
    }
}

/// tools/sbom-check holds the bills against CycloneDX's schema.
#[test]
fn the_bills_of_materials_describe_the_files_beside_them() {
    let scratch = coverslip_testkit::Scratch::new("bills");
    let prefix = installed(&scratch);
    let read = |name: &str| -> serde_json::Value {
        let text = std::fs::read_to_string(prefix.join("share/coverslip/sbom").join(name)).expect(name);
        serde_json::from_str(&text).expect("JSON")
    };
    let sha256 = |path: &Path| coverslip_bundle::Digest::of(&std::fs::read(path).expect("a file")).to_string();
    let (library, command) = (read("libcoverslip.cdx.json"), read("coverslip.cdx.json"));
    let about = &library["metadata"]["component"];
    let file = prefix.join("lib").join(about["name"].as_str().expect("a name"));
    assert_eq!(about["hashes"][0]["content"], sha256(&file));
    assert_eq!(
        command["metadata"]["component"]["hashes"][0]["content"],
        sha256(Path::new(env!("CARGO_BIN_EXE_coverslip")))
    );
    let count = |bill: &serde_json::Value| bill["components"].as_array().expect("components").len();
    assert!(count(&library) > 40 && count(&command) > count(&library), "{} {}", count(&library), count(&command));

    // Of a library that was built elsewhere nobody here knows what it links.
    let stranger = scratch.join("other.so");
    let mut bytes = std::fs::read(coverslip_testkit::library()).expect("the library");
    bytes.push(0); // A loader does not mind.
    std::fs::write(&stranger, bytes).expect("a copy");
    let other = scratch.join("other");
    let mut install = Command::new(env!("CARGO_BIN_EXE_coverslip"));
    install.arg("install").arg("--prefix").arg(&other).arg("--library").arg(&stranger);
    let said = coverslip_testkit::stdout(&mut install);
    assert!(said.contains("no libcoverslip.cdx.json: the library was not built together"), "{said}");
    assert!(!other.join("share/coverslip/sbom/libcoverslip.cdx.json").exists());
}

#[test]
fn installing_again_replaces_and_refusals_name_the_file() {
    let scratch = coverslip_testkit::Scratch::new("install");
    let prefix = scratch.join("prefix");
    let install = |library: &Path, prefix: &Path| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_coverslip"));
        command.arg("install").arg("--prefix").arg(prefix).arg("--library").arg(library);
        command.output().expect("the command runs")
    };
    for _ in 0..2 {
        assert!(install(&coverslip_testkit::library(), &prefix).status.success());
    }
    // The whole of it is checked before a byte is written.
    let stranger = scratch.join("stranger.so");
    std::fs::write(&stranger, "not a library").expect("a file");
    for (library, words) in [(stranger, "stranger.so"), (scratch.join("missing.so"), "missing.so")] {
        let refused = install(&library, &scratch.join("other"));
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && said.contains(words), "{said}");
        assert!(!scratch.join("other").exists());
    }
    // A prefix that is a file.
    let file = scratch.join("file");
    std::fs::write(&file, "").expect("a file");
    let refused = install(&coverslip_testkit::library(), &file);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains(&file.display().to_string()), "{said}");
    // What is no bundle of ours in the place of the bundle.
    let (bundle, other) = (scratch.join("bundle"), scratch.join("other"));
    coverslip_testkit::bundle(&bundle);
    let taken = other.join("share/coverslip/bundles/bundle");
    std::fs::create_dir_all(&taken).expect("a folder");
    std::fs::write(taken.join("notes.txt"), "mine").expect("a file");
    let mut command = Command::new(env!("CARGO_BIN_EXE_coverslip"));
    command.arg("install").arg("--prefix").arg(&other).arg("--library").arg(coverslip_testkit::library());
    let refused = command.arg("--bundle").arg(&bundle).output().expect("the command runs");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("exists and is not a bundle"), "{said}");
    assert!(!other.join("lib").exists(), "nothing is installed");
}
