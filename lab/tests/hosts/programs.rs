//! The examples as programs: built with CMake where it is there, else with the compiler and the flags of coverslip.pc.

use std::path::{Path, PathBuf};
use std::process::Command;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Language {
    C,
    Cpp,
}

impl Language {
    /// The extension of its sources, which is also the name of its folder under `examples`.
    fn name(self) -> &'static str {
        match self {
            Language::C => "c",
            Language::Cpp => "cpp",
        }
    }

    fn folder(self) -> PathBuf {
        coverslip_testkit::root().join("examples").join(self.name())
    }

    /// None, with a note, where there is no compiler.
    fn compiler(self) -> Option<Command> {
        match self {
            Language::C => Some(coverslip_testkit::cc()),
            Language::Cpp => coverslip_testkit::cxx(),
        }
    }

    /// The examples in reading order: the sources in the folder.
    pub(crate) fn examples(self) -> Vec<String> {
        let files = std::fs::read_dir(self.folder()).expect("the folder of the examples");
        let paths = files.map(|entry| entry.expect("an entry").path());
        let sources = paths.filter(|path| path.extension().is_some_and(|extension| extension == self.name()));
        let mut names: Vec<String> =
            sources.map(|path| path.file_stem().expect("a name").to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }
}

/// Builds every example of a language; returns the folder with the programs.
pub(crate) fn build(language: Language, scratch: &coverslip_testkit::Scratch, prefix: &Path) -> Option<PathBuf> {
    language.compiler()?;
    let folder = scratch.join(language.name());
    if !coverslip_testkit::has("cmake") {
        for name in language.examples() {
            compile(language, &name, &folder, prefix);
        }
        return Some(folder);
    }
    coverslip_testkit::note(&format!("examples/{}: built with CMake", language.name()));
    let mut configure = Command::new("cmake");
    configure.arg("-S").arg(language.folder()).arg("-B").arg(&folder).arg("-DCMAKE_BUILD_TYPE=Release");
    // Only this package: one that is installed on this machine must not answer.
    configure.arg(format!("-Dcoverslip_ROOT={}", prefix.display()));
    coverslip_testkit::run(&mut configure);
    coverslip_testkit::run(Command::new("cmake").arg("--build").arg(&folder));
    Some(folder)
}

/// Builds one example without CMake, as examples/README.md says; returns the program, or None without a compiler.
pub(crate) fn compile(language: Language, name: &str, folder: &Path, prefix: &Path) -> Option<PathBuf> {
    let mut compiler = language.compiler()?;
    std::fs::create_dir_all(folder).expect("a build folder");
    let program = folder.join(name);
    let standard = if language == Language::C { "-std=c11" } else { "-std=c++17" };
    compiler.args(["-O2", "-Wconversion", "-Wshadow", standard]);
    compiler.arg(language.folder().join(name).with_extension(language.name())).arg("-o").arg(&program);
    compiler.args(flags(prefix, name)).args(["-pthread", "-lm", "-ldl"]);
    coverslip_testkit::run(compiler.arg(format!("-Wl,-rpath,{}", prefix.join("lib").display())));
    Some(program)
}

/// The flags of coverslip.pc: from pkg-config, or read here where there is none.
fn flags(prefix: &Path, name: &str) -> Vec<String> {
    let folder = prefix.join("lib/pkgconfig");
    let file = std::fs::read_to_string(folder.join("coverslip.pc")).expect("coverslip.pc");
    if coverslip_testkit::has("pkg-config") {
        coverslip_testkit::note(&format!("{name}: built with pkg-config"));
        let mut command = Command::new("pkg-config");
        let text = coverslip_testkit::stdout(
            command.args(["--cflags", "--libs", "coverslip"]).env("PKG_CONFIG_PATH", &folder),
        );
        // Spaces in paths come escaped.
        let words = text.trim().replace("\\ ", "\0");
        return words.split_whitespace().map(|word| word.replace('\0', " ")).collect();
    }
    coverslip_testkit::note(&format!("{name}: built with the flags of coverslip.pc"));
    let fields = file.lines().filter_map(|line| line.split_once(": "));
    let flags = fields.filter(|(key, _)| ["Cflags", "Libs"].contains(key)).flat_map(|(_, value)| value.split(' '));
    let root = prefix.display().to_string();
    let expand = |flag: &str| flag.replace("${libdir}", "${prefix}/lib").replace("${includedir}", "${prefix}/include");
    flags.map(|flag| expand(flag).replace("${prefix}", &root)).collect()
}
