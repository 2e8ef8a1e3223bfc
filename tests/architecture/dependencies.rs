//! What library and command link, as `cargo tree` has it: the list for the bill of materials, and the page of the
//! plugin's crates.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

/// What `cargo tree` prints for one crate.
struct Crate {
    licence: String,
    needs: BTreeSet<Name>,
}

/// Name and version.
type Name = (String, String);

const LINUX: &str = "x86_64-unknown-linux-gnu";
const WINDOWS: &str = "x86_64-pc-windows-gnu";

/// What `cargo tree` prints of a package on a system, with the features of the README's build; its error, where a crate is
/// not on this machine.
fn printed(root: &Path, target: &str, package: &str, edges: &str) -> Result<String, String> {
    let output = Command::new(env!("CARGO"))
        .current_dir(root)
        .args(["tree", "--locked", "--offline", "--target", target, "--prefix", "depth"])
        .args(["--format", "{p}|{l}", "--package", package, "--edges", edges])
        .output()
        .expect("cargo runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() { Ok(String::from_utf8(output.stdout).expect("UTF-8")) } else { Err(said) }
}

/// The crates that a package links, as `cargo tree` printed them.
fn tree(text: &str) -> BTreeMap<Name, Crate> {
    let (mut found, mut path) = (BTreeMap::<Name, Crate>::new(), Vec::<Name>::new());
    for line in text.lines() {
        let line = line.trim_end_matches(" (*)");
        let digits = line.find(|c: char| !c.is_ascii_digit()).expect("a name after the depth");
        let (depth, line) = (line[..digits].parse::<usize>().expect("a depth"), &line[digits..]);
        let (package, licence) = line.split_once('|').expect("a licence");
        let mut words = package.split(' ');
        let (name, version) = (words.next().expect("a name"), words.next().expect("a version"));
        let name = (name.to_owned(), version.trim_start_matches('v').to_owned());
        path.truncate(depth);
        if let Some(above) = path.last() {
            found.get_mut(above).expect("a crate stands above what it needs").needs.insert(name.clone());
        }
        // Cargo's old form of OR is none of SPDX's.
        let licence = licence.replace('/', " OR ");
        found.entry(name.clone()).or_insert_with(|| Crate { licence, needs: BTreeSet::new() });
        path.push(name);
    }
    found
}

/// What `from` reaches without passing through `not`.
fn reached(all: &BTreeMap<Name, Crate>, from: &str, not: &str) -> BTreeSet<Name> {
    let start = all.keys().find(|(name, _)| name == from).expect("the root is in its tree");
    let (mut seen, mut next) = (BTreeSet::from([start.clone()]), vec![start]);
    while let Some(name) = next.pop() {
        next.extend(all[name].needs.iter().filter(|(name, _)| name != not).filter(|need| seen.insert((*need).clone())));
    }
    seen
}

/// The sha256 of each package from crates.io, by name and version.
fn checksums(root: &Path) -> BTreeMap<Name, String> {
    let lock = std::fs::read_to_string(root.join("Cargo.lock")).expect("Cargo.lock");
    let field = |block: &str, name: &str| {
        let start = format!("{name} = \"");
        block.lines().find_map(|line| Some(line.strip_prefix(&start)?.trim_end_matches('"').to_owned()))
    };
    let packages = lock.split("[[package]]").skip(1);
    packages
        .filter_map(|block| Some(((field(block, "name")?, field(block, "version")?), field(block, "checksum")?)))
        .collect()
}

/// `COVERSLIP_BLESS=1 cargo test --test architecture` writes the list after a change of the dependencies.
#[test]
fn the_list_of_components_is_what_cargo_links() {
    let text = printed(&crate::root(), LINUX, "coverslip-lab", "normal,no-proc-macro").expect("built from these");
    expect_listed("Linux", "components.tsv", &tree(&text));
}

#[test]
fn so_is_the_list_of_windows() {
    match printed(&crate::root(), WINDOWS, "coverslip-lab", "normal,no-proc-macro") {
        Ok(text) => expect_listed("Windows", "components-windows.tsv", &tree(&text)),
        Err(said) if said.contains("--offline") || said.contains("failed to download") => coverslip_testkit::note(
            "left out: Windows' crates are not here; `cargo fetch --target x86_64-pc-windows-gnu`",
        ),
        Err(said) => panic!("{said}"),
    }
}

fn expect_listed(system: &str, file: &str, all: &BTreeMap<Name, Crate>) {
    let root = crate::root();
    // The command names nothing of the library's crate and loads the library by path.
    let (library, command) = (reached(all, "coverslip", ""), reached(all, "coverslip-lab", "coverslip"));
    let checksums = checksums(&root);
    let mut text = format!(
        "# What library and command link on {system}: name, version, licence, sha256 of the package, linked by, needs.\n\
        # tests/architecture writes this file from `cargo tree` and Cargo.lock.\n"
    );
    for (name, Crate { licence, needs }) in all {
        let products = [("library", &library), ("command", &command)];
        let linked: Vec<&str> = products.iter().filter(|(_, set)| set.contains(name)).map(|(by, _)| *by).collect();
        let ours = name.0.starts_with("coverslip");
        let sha256 = checksums.get(name).map_or("-", String::as_str);
        assert!(ours || (sha256.len() == 64 && !licence.is_empty()), "{name:?} has no checksum or no licence");
        let needs: Vec<String> = needs.iter().map(|(name, version)| format!("{name}@{version}")).collect();
        text += &[&name.0, &name.1, licence, sha256, &linked.join(" "), &needs.join(" ")].join("\t");
        text.push('\n');
    }
    coverslip_testkit::assert_golden(&root.join("packaging").join(file), &text);
}

/// A sum of ours that overflows is a finding, in every crate that a fuzzer's target links.
#[test]
fn the_fuzzer_checks_every_crate_of_ours() {
    let root = crate::root();
    let linked = tree(&printed(&root, LINUX, "coverslip-fuzzing", "normal,no-proc-macro").expect("built from these"));
    let ours: BTreeSet<String> =
        linked.into_keys().map(|(name, _)| name).filter(|name| name.starts_with("coverslip")).collect();
    let manifest = std::fs::read_to_string(root.join("fuzz/Cargo.toml")).expect("fuzz/Cargo.toml");
    let of_crates = manifest.split("\n[profile.release.package.").skip(1);
    let checked: BTreeSet<String> = of_crates
        .map(|section| {
            let (name, settings) = section.split_once("]\n").expect("a section's name");
            for setting in ["debug-assertions = true\n", "overflow-checks = true\n"] {
                assert!(settings.split('[').next().unwrap_or_default().contains(setting), "{name}: {setting}");
            }
            name.to_owned()
        })
        .collect();
    assert_eq!(checked, ours, "the sections of fuzz/Cargo.toml, and what the targets link");
}

/// docs/reference/dependencies.md says of every crate that the plugin needs, also to be built, what it is for.
#[test]
fn the_page_of_dependencies_names_every_crate_of_the_plugin() {
    let root = crate::root();
    let page = std::fs::read_to_string(root.join("docs/reference/dependencies.md")).expect("the page");
    let said: BTreeSet<String> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .flat_map(|line| line.split(" | ").next().into_iter().flat_map(|cell| cell.split('`')))
        .map(str::to_owned)
        .filter(|word| !word.is_empty() && !word.contains([' ', ',']))
        .collect();
    let needed = |edges: &str| -> BTreeSet<String> {
        tree(&printed(&root, LINUX, "coverslip", edges).expect("built from these"))
            .into_keys()
            .map(|(name, _)| name)
            .filter(|name| !name.starts_with("coverslip"))
            .collect()
    };
    let all = needed("normal,build");
    assert_eq!(said, all, "crates on the page, crates of `cargo tree -p coverslip -e normal,build`");
    let linked = needed("normal,no-proc-macro");
    let sentence = format!(
        "{} crates of others are linked, {} more only help to build it",
        linked.len(),
        all.len() - linked.len()
    );
    let page = page.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(page.contains(&sentence), "expected on the page: {sentence}");
    // They were taken out: what brings one of them back is decided, not overlooked.
    for gone in ["tempfile", "getrandom", "fastrand", "once_cell"] {
        assert!(!all.contains(gone), "{gone} is back in the plugin");
    }
}
