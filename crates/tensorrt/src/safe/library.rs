//! Finding and loading TensorRT.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::result::{Error, Result};
use crate::sys::{self, Driver, Flavor, LogSink, Severity, Version};

/// What the loader is asked for, where its search is allowed: RTX first, which needs no plan for each GPU.
#[cfg(not(windows))]
const NAMES: &[&str] = &["libtensorrt_rtx.so.1", "libnvinfer.so.11"];
#[cfg(windows)]
const NAMES: &[&str] = &["tensorrt_rtx_1_7.dll", "tensorrt_rtx_1_6.dll", "tensorrt_rtx_1_5.dll", "nvinfer_11.dll"];

/// Names of generations that are not driven: worth telling a person of, not worth trying.
#[cfg(not(windows))]
const OLDER: &[&str] = &["libnvinfer.so.10"];
#[cfg(windows)]
const OLDER: &[&str] = &["nvinfer_10.dll"];

/// A loaded TensorRT. It stays for the life of the process, and loading it again gives the same one.
#[derive(Clone, Copy)]
pub struct Library {
    sys: &'static sys::Library,
}

impl Library {
    /// Loads the library at an absolute path. CUDA is initialised before; whether that worked, [`Library::driver`]
    /// says.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        Ok(Self { sys: sys::Library::load(absolute(path.as_ref())?)? })
    }

    /// Loads the first of `paths` that is a TensorRT this crate drives. One that is there and is not driven does not
    /// hide the next; [`Error::NotFound`] tells of each.
    pub fn find<P: AsRef<Path>>(paths: impl IntoIterator<Item = P>) -> Result<Self> {
        let mut tried = Vec::new();
        for path in paths {
            match sys::Library::load(absolute(path.as_ref())?) {
                Ok(sys) => return Ok(Self { sys }),
                Err(error) => tried.push(error),
            }
        }
        Err(Error::NotFound { tried })
    }

    /// Loads what the loader's search finds under TensorRT's usual names: `LD_LIBRARY_PATH`, the loader's cache, on
    /// Windows `PATH`. For a program that trusts its environment; a plugin in another's process should not.
    pub fn search() -> Result<Self> {
        let mut tried = Vec::new();
        for name in NAMES {
            match sys::Library::load(&PathBuf::from(name)) {
                Ok(sys) => return Ok(Self { sys }),
                Err(error) => tried.push(error),
            }
        }
        Err(Error::NotFound { tried })
    }

    /// What the loader's search finds under each of TensorRT's names, in the order in which [`Library::search`] would
    /// take them, then under names of generations that this crate does not drive. For a program that tells a person
    /// what is there: all of them are loaded.
    pub fn candidates() -> Vec<(&'static str, Result<Self>)> {
        let load = |name| sys::Library::load(Path::new(name)).map(|sys| Self { sys }).map_err(Error::from);
        NAMES.iter().chain(OLDER).map(|name| (*name, load(name))).collect()
    }

    /// Where it came from; links resolved.
    pub fn path(&self) -> &'static Path {
        self.sys.path()
    }

    /// TensorRT or TensorRT-RTX.
    pub fn flavor(&self) -> Flavor {
        self.sys.flavor()
    }

    /// What it says it is.
    pub fn version(&self) -> Version {
        self.sys.version()
    }

    /// Whether its interface tables were read from this very release's headers, rather than from an earlier one of the
    /// same generation. Worth a line in a log.
    pub fn is_known(&self) -> bool {
        self.sys.version().is_known()
    }

    /// Whether it can build at all; the lean and the dispatch runtime cannot.
    pub fn has_builder(&self) -> bool {
        self.sys.has_builder()
    }

    /// The driver, or why there is none.
    pub fn driver(&self) -> Result<&'static Driver> {
        Ok(self.sys.driver()?)
    }

    /// Passes what TensorRT logs, from `level` up, to `sink`, or to nobody. One sink per library: whoever sets it last.
    pub fn set_log_sink(&self, level: Severity, sink: Option<LogSink>) {
        self.sys.logger().set_sink(level, sink);
    }

    /// As [`Library::set_log_sink`], for a closure. It is called from TensorRT's threads, several at a time.
    pub fn on_log(&self, level: Severity, sink: impl Fn(Severity, &str) + Send + Sync + 'static) {
        self.set_log_sink(level, Some(Arc::new(sink)));
    }

    /// The library as the layer below has it.
    pub fn sys(&self) -> &'static sys::Library {
        self.sys
    }

    pub(super) fn unsupported(&self, what: &'static str, instead: &'static str) -> Error {
        Error::Unsupported { what, library: (self.flavor(), self.version()), instead }
    }

    /// Why the library made nothing: no driver where there is none, else what `otherwise` says.
    pub(super) fn no_driver_or(&self, otherwise: Error) -> Error {
        self.sys.driver().err().map_or(otherwise, Error::NoDriver)
    }
}

fn absolute(path: &Path) -> Result<&Path> {
    if path.is_absolute() { Ok(path) } else { Err(Error::NotAbsolute { path: path.to_owned() }) }
}

impl fmt::Debug for Library {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.sys.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::LoadError;

    #[test]
    fn only_absolute_paths_are_loaded() {
        let error = Library::load("libtensorrt_rtx.so.1").unwrap_err();
        assert!(matches!(&error, Error::NotAbsolute { path } if path == Path::new("libtensorrt_rtx.so.1")), "{error}");
    }

    #[test]
    fn what_was_tried_is_told() {
        let error = Library::find(["/no/such/a.so", "/no/such/b.so"]).unwrap_err();
        let Error::NotFound { tried } = &error else { panic!("{error}") };
        assert_eq!(tried.len(), 2);
        assert!(error.to_string().contains("/no/such/b.so") && error.to_string().contains("install"), "{error}");
        let error = Library::find(Vec::<&Path>::new()).unwrap_err();
        assert!(error.to_string().contains("give the path"), "{error}");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn what_is_not_tensorrt_is_told() {
        let folder = std::env::temp_dir().join(format!("coverslip-tensorrt-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let text = folder.join("libtensorrt_rtx.so.1");
        std::fs::write(&text, "not a library").unwrap();
        assert!(matches!(Library::load(&text), Err(Error::Load(LoadError::NotLoadable { .. }))));
        std::fs::remove_dir_all(&folder).unwrap();
        let libc = std::fs::read_to_string("/proc/self/maps").unwrap();
        let libc = libc.lines().filter_map(|line| line.split_whitespace().last()).find(|path| path.contains("libc."));
        let error = Library::load(libc.expect("this process has a C library")).unwrap_err();
        assert!(
            matches!(error, Error::Load(LoadError::NotTensorRt { missing: "createInferRuntime_INTERNAL", .. })),
            "{error}"
        );
    }
}
