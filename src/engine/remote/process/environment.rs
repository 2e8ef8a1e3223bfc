//! What a worker is told of the host's environment: where to find libraries and files, and what concerns CUDA. The rest,
//! LD_PRELOAD among it, is the host's.

use std::ffi::OsString;

const KEPT: &[&str] = if cfg!(windows) {
    &[
        "PATH",
        "SystemRoot",
        "SystemDrive",
        "windir",
        "TEMP",
        "TMP",
        "USERNAME",
        "USERPROFILE",
        "APPDATA",
        "LOCALAPPDATA",
        "ProgramData",
        "ProgramFiles",
        "NUMBER_OF_PROCESSORS",
        "PROCESSOR_ARCHITECTURE",
        "RTEN_NUM_THREADS",
    ]
} else {
    &["PATH", "HOME", "USER", "LANG", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "XDG_CACHE_HOME", "RTEN_NUM_THREADS"]
};
const KEPT_PREFIXES: [&str; 6] = ["CUDA_", "NVIDIA_", "TRT_", "TENSORRT_", "LC_", "COVERSLIP_"];

/// Variables and their values.
pub(in crate::engine::remote) type Environment = Vec<(OsString, OsString)>;

/// What a worker is told of this process's environment. Asked for once, in runtime_open: later a host's thread may be
/// changing it, which nothing guards.
pub(in crate::engine::remote) fn environment() -> Environment {
    std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(is_kept)).collect()
}

/// On Windows the case of a name says nothing.
fn is_kept(name: &str) -> bool {
    let equal = |a: &str, b: &str| if cfg!(windows) { a.eq_ignore_ascii_case(b) } else { a == b };
    let begins = |prefix: &&str| name.get(..prefix.len()).is_some_and(|begin| equal(begin, prefix));
    KEPT.iter().any(|kept| equal(kept, name)) || KEPT_PREFIXES.iter().any(begins)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_is_what_a_worker_needs() {
        let kept = ["PATH", "CUDA_VISIBLE_DEVICES", "COVERSLIP_X", "LC_ALL", "RTEN_NUM_THREADS"];
        assert!(kept.into_iter().all(is_kept));
        assert!(!["LD_PRELOAD", "PATHS", "AWS_SECRET_ACCESS_KEY", "CUDA", ""].into_iter().any(is_kept));
        assert_eq!(is_kept("LD_LIBRARY_PATH"), !cfg!(windows));
        assert!(["Path", "SYSTEMROOT", "cuda_path"].into_iter().all(|name| is_kept(name) == cfg!(windows)));
    }
}
