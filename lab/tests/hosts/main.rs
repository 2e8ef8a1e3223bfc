//! The installed package, used as a host's developer uses it: `coverslip install` into a folder, the example hosts
//! built against that folder (which has moved meanwhile), and run on a drawn slide.
#![cfg(target_os = "linux")]

#[path = "../../tests/support/mod.rs"]
mod support;

use std::path::{Path, PathBuf};
use std::process::Command;

/// Installs into `<scratch>/made`, then moves the tree: nothing in it may remember where it was made.
fn installed(scratch: &support::Scratch) -> PathBuf {
    let (made, moved) = (scratch.join("made"), scratch.join("moved here"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_coverslip"));
    command.arg("install").arg("--prefix").arg(&made).arg("--library").arg(support::library());
    command.arg("--bundle").arg(support::demo_bundle());
    support::run(&mut command);
    std::fs::rename(&made, &moved).expect("the tree can be moved");
    moved
}

/// Builds `examples/<name>` with CMake, or as its README says without; returns the program.
fn build(name: &str, scratch: &support::Scratch, prefix: &Path) -> Option<PathBuf> {
    let cpp = name == "host_cpp";
    if cpp {
        support::cxx()?;
    }
    let source = support::root().join("examples").join(name);
    let folder = scratch.join(name);
    if support::has("cmake") {
        support::note(&format!("{name}: built with CMake"));
        let mut configure = Command::new("cmake");
        configure.arg("-S").arg(&source).arg("-B").arg(&folder).arg("-DCMAKE_BUILD_TYPE=Release");
        // Only this package: one that is installed on this machine must not answer.
        configure.arg(format!("-Dcoverslip_ROOT={}", prefix.display()));
        support::run(&mut configure);
        support::run(Command::new("cmake").arg("--build").arg(&folder));
        return Some(folder.join(name));
    }
    std::fs::create_dir_all(&folder).expect("a build folder");
    let mut compiler = if cpp { support::cxx()? } else { support::cc() };
    compiler.args(["-O2", "-Wconversion", "-Wshadow", if cpp { "-std=c++17" } else { "-std=c11" }]);
    compiler.arg(source.join(if cpp { "main.cpp" } else { "main.c" })).arg("-o").arg(folder.join(name));
    compiler.args(flags(prefix, name)).args(["-pthread", "-lm", "-ldl"]);
    support::run(compiler.arg(format!("-Wl,-rpath,{}", prefix.join("lib").display())));
    Some(folder.join(name))
}

/// The flags of coverslip.pc: from pkg-config, or read here where there is none.
fn flags(prefix: &Path, name: &str) -> Vec<String> {
    let folder = prefix.join("lib/pkgconfig");
    let file = std::fs::read_to_string(folder.join("coverslip.pc")).expect("coverslip.pc");
    if support::has("pkg-config") {
        support::note(&format!("{name}: built with pkg-config"));
        let mut command = Command::new("pkg-config");
        let text = support::stdout(command.args(["--cflags", "--libs", "coverslip"]).env("PKG_CONFIG_PATH", &folder));
        // Spaces in paths come escaped.
        let words = text.trim().replace("\\ ", "\0");
        return words.split_whitespace().map(|word| word.replace('\0', " ")).collect();
    }
    support::note(&format!("{name}: built with the flags of coverslip.pc"));
    let fields = file.lines().filter_map(|line| line.split_once(": "));
    let flags = fields.filter(|(key, _)| ["Cflags", "Libs"].contains(key)).flat_map(|(_, value)| value.split(' '));
    let root = prefix.display().to_string();
    let expand = |flag: &str| flag.replace("${libdir}", "${prefix}/lib").replace("${includedir}", "${prefix}/include");
    flags.map(|flag| expand(flag).replace("${prefix}", &root)).collect()
}

/// Runs a host and looks at what it says.
fn expect_a_whole_slide(program: &Path, arguments: &[&Path]) {
    let said = support::stdout(Command::new(program).args(arguments));
    support::note(&said);
    let tiles = said.lines().find(|line| line.starts_with("tiles: ")).expect("a line with the tiles").to_lowercase();
    let numbers: Vec<u64> = tiles.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    assert_eq!(numbers[0], numbers[1..].iter().sum::<u64>(), "{tiles}");
    // There are tissue and glass on the drawn slide, and nothing gets lost.
    let count = |status: &str| {
        let before = tiles.split(&format!(" {status}")).next().unwrap_or_default();
        before.split_whitespace().last().and_then(|word| word.parse::<u64>().ok()).expect("a number before each status")
    };
    assert!(count("done") > 0 && count("background") > 0, "{tiles}");
    assert_eq!(count("refused") + count("expired") + count("cancelled") + count("failed"), 0, "{tiles}");
}

#[test]
fn both_example_hosts_run_against_the_installed_package() {
    let scratch = support::Scratch::new("hosts");
    let prefix = installed(&scratch);
    let bundle = prefix.join("share/coverslip/bundles").join(support::demo_bundle().file_name().expect("a name"));
    if let Some(host_c) = build("host_c", &scratch, &prefix) {
        expect_a_whole_slide(&host_c, &[&bundle]);
        // The host's exit code says so when things go wrong.
        assert_eq!(
            Command::new(&host_c).arg(scratch.join("nothing")).output().expect("it runs").status.code(),
            Some(1)
        );
    }
    if let Some(host_cpp) = build("host_cpp", &scratch, &prefix) {
        expect_a_whole_slide(&host_cpp, &[&bundle]);
        expect_a_whole_slide(&host_cpp, &[&bundle, &prefix.join("lib/libcoverslip.so")]);
        let nothing = Command::new(&host_cpp).arg(&bundle).arg(scratch.join("nothing.so")).output().expect("it runs");
        assert_eq!(nothing.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&nothing.stderr).starts_with("IO: "), "{nothing:?}");
    }
}

#[test]
fn the_package_has_the_names_that_the_loader_expects() {
    let scratch = support::Scratch::new("package");
    let lib = installed(&scratch).join("lib");
    let target = |name: &str| std::fs::read_link(lib.join(name)).expect("a link").display().to_string();
    assert_eq!(target("libcoverslip.so"), "libcoverslip.so.1");
    assert_eq!(target("libcoverslip.so.1"), concat!("libcoverslip.so.", env!("CARGO_PKG_VERSION")));
    for entry in std::fs::read_dir(&lib).expect("lib") {
        let name = entry.expect("an entry").file_name();
        assert!(!name.to_string_lossy().starts_with('.'), "a draft was left behind: {name:?}");
    }
    // Nothing knows where it was made.
    for file in ["cmake/coverslip/coverslip-config.cmake", "pkgconfig/coverslip.pc"] {
        let text = std::fs::read_to_string(lib.join(file)).expect(file);
        assert!(!text.contains(&scratch.path().display().to_string()) && !text.contains('@'), "{text}");
    }
}

#[test]
fn installing_again_replaces_and_refusals_name_the_file() {
    let scratch = support::Scratch::new("install");
    let prefix = scratch.join("prefix");
    let install = |library: &Path, prefix: &Path| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_coverslip"));
        command.arg("install").arg("--prefix").arg(prefix).arg("--library").arg(library);
        command.output().expect("the command runs")
    };
    for _ in 0..2 {
        assert!(install(&support::library(), &prefix).status.success());
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
    let refused = install(&support::library(), &file);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains(&file.display().to_string()), "{said}");
}
