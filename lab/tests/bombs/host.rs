//! A host in C under the same limit.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use coverslip_plugin_abi as abi;
use coverslip_testkit::Scratch;

use super::limited;

pub(crate) struct Host {
    program: PathBuf,
}

impl Host {
    /// Compiles the host.
    pub(crate) fn build(scratch: &Scratch) -> Option<Host> {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bombs/host.c");
        let program = scratch.join("host");
        coverslip_testkit::run(coverslip_testkit::cc().arg(source).arg("-o").arg(&program).arg("-ldl"));
        Some(Host { program })
    }

    /// The code of `runtime_open`, and what it said. The host lives, and nothing was printed but by itself.
    #[track_caller]
    fn open(&self, what: &str, bundle: &Path, profile: Option<&Path>) -> (i32, String) {
        let library = coverslip_testkit::library();
        let mut arguments: Vec<&OsStr> = vec![library.as_os_str(), bundle.as_os_str()];
        arguments.extend(profile.map(Path::as_os_str));
        let output = limited(&self.program, &arguments);
        let (said, printed) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success() && printed.is_empty(), "{what}: {}: {printed}", output.status);
        let lines: Vec<&str> = said.lines().collect();
        let &[told, "alive"] = &lines[..] else { panic!("{what}: {said}") };
        let (code, message) = told.split_once(' ').expect("a code and a message");
        (code.parse().expect("a code"), message.to_owned())
    }

    #[track_caller]
    pub(crate) fn opens(&self, bundle: &Path) {
        assert_eq!(self.open("an honest bundle", bundle, None), (abi::OK, String::new()));
    }

    /// Asserts that the bundle is refused because this process gets too little memory for it.
    #[track_caller]
    pub(crate) fn lacks_memory(&self, what: &str, bundle: &Path) {
        let (code, message) = self.open(what, bundle, None);
        assert_eq!(code, abi::OUT_OF_MEMORY, "{what}: {message}");
    }

    /// Asserts that the bundle, or the profile, is refused for what it is.
    #[track_caller]
    pub(crate) fn refuses(&self, what: &str, bundle: &Path, profile: Option<&Path>) {
        let (code, message) = self.open(what, bundle, profile);
        let known = [abi::BUNDLE_INVALID, abi::BUNDLE_UNSUPPORTED, abi::DIGEST_MISMATCH];
        assert!(known.contains(&code), "{what}: {code} {message}");
    }
}
