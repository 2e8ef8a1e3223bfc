//! Finds and loads TensorRT.
//!
//! A loaded library stays: unloading TensorRT crashes processes at exit (NVIDIA/TensorRT#4617). Loading the same file
//! again gives the same [`Library`].

use std::ffi::c_int;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::abi::Raw;
use super::codes::Severity;
use super::driver::{Driver, NoDriver};
use super::dynamic::Dynamic;
use super::error::{Error, LoadError, Result};
use super::logger::{LogLine, Logger, Mark};
use super::slots::Slots;
use super::version::{Flavor, Version};

/// The names that [`Library::search`] tries: RTX first, since its plans are not bound to one GPU; then the newest.
#[cfg(not(windows))]
const NAMES: &[&str] = &["libtensorrt_rtx.so.1", "libnvinfer.so.11", "libnvinfer.so.10"];
#[cfg(windows)]
const NAMES: &[&str] =
    &["tensorrt_rtx_1_7.dll", "tensorrt_rtx_1_6.dll", "tensorrt_rtx_1_5.dll", "nvinfer_11.dll", "nvinfer_10.dll"];

/// Names of generations that this crate does not drive: worth reporting, not worth trying.
#[cfg(not(windows))]
const OLDER: &[&str] = &["libnvinfer.so.8"];
#[cfg(windows)]
const OLDER: &[&str] = &["nvinfer.dll"];

/// `createInferBuilder_INTERNAL`, `createInferRuntime_INTERNAL`: (logger, version that the caller was built against).
/// The library ignores the version.
type Create = unsafe extern "C" fn(Raw, i32) -> Raw;
/// `createNvOnnxParser_INTERNAL`: (network, logger, version).
type CreateParser = unsafe extern "C" fn(Raw, Raw, c_int) -> Raw;

/// A loaded TensorRT. It stays for the life of the process; loading the same file again gives an equal one.
#[derive(Clone, Copy)]
pub struct Library(&'static Loaded);

struct Loaded {
    path: PathBuf,
    version: Version,
    slots: &'static Slots,
    /// The lean and the dispatch runtime have none.
    create_builder: Option<Create>,
    create_runtime: Create,
    parser: OnceLock<Result<ParserLibrary, LoadError>>,
    logger: Logger,
    driver: Result<&'static Driver, NoDriver>,
    _library: Dynamic,
}

/// The ONNX parser: a separate library beside TensorRT's.
struct ParserLibrary {
    create: CreateParser,
    version: c_int,
    _library: Dynamic,
}

impl Library {
    /// Loads the library at an absolute path. CUDA is initialised before; [`Library::driver`] reports whether that
    /// worked.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        if !path.is_absolute() {
            return Err(Error::NotAbsolute { path: path.to_owned() });
        }
        let path = path.canonicalize().map_err(|_| LoadError::NotFound { path: path.to_owned() })?;
        Ok(Self::loaded(path)?)
    }

    /// Loads what the loader finds under TensorRT's usual names: by `LD_LIBRARY_PATH` and the loader's cache, on
    /// Windows by `PATH`. This suits a program that trusts its environment, not a plugin in a foreign process.
    pub fn search() -> Result<Self> {
        let mut tried = Vec::new();
        for name in NAMES {
            match Self::loaded(name.into()) {
                Ok(library) => return Ok(library),
                Err(error) => tried.push(error),
            }
        }
        Err(Error::NotFound { tried })
    }

    /// Loads all that the loader finds: under the names of [`Library::search`], in its order, then under those of
    /// generations that this crate does not drive. This suits a program that reports what is installed.
    pub fn candidates() -> Vec<(&'static str, Result<Self>)> {
        let load = |name: &str| Self::loaded(name.into()).map_err(Error::from);
        NAMES.iter().chain(OLDER).map(|name| (*name, load(name))).collect()
    }

    /// Where the library is, links resolved.
    pub fn path(self) -> &'static Path {
        &self.0.path
    }

    /// TensorRT or TensorRT-RTX.
    pub fn flavor(self) -> Flavor {
        self.0.version.flavor()
    }

    /// The version that the library reports.
    pub fn version(self) -> Version {
        self.0.version
    }

    /// Whether the interface tables were compared with this very release's headers, rather than with those of an
    /// earlier release of the same generation. Worth a line in a log.
    pub fn is_known(self) -> bool {
        self.0.version.is_known()
    }

    /// Whether it can build plans. The lean and the dispatch runtime cannot.
    pub fn has_builder(self) -> bool {
        self.0.create_builder.is_some()
    }

    /// Whether its parser takes a model's weights apart from the model ([`Model::weights`](super::Model::weights)). That
    /// of TensorRT 10.0 to 10.12 does not.
    pub fn takes_weights_apart(self) -> bool {
        self.slots().parser.load_model_proto.is_some()
    }

    /// The driver, or why there is none.
    pub fn driver(self) -> Result<&'static Driver> {
        Ok(self.0.driver.clone()?)
    }

    /// Passes log lines of `level` and worse to `sink`, in place of an earlier sink. TensorRT's threads call it,
    /// several at a time.
    pub fn on_log(self, level: Severity, sink: impl Fn(Severity, &str) + Send + Sync + 'static) {
        self.0.logger.set_sink(level, Arc::new(sink));
    }

    pub(super) fn slots(self) -> &'static Slots {
        self.0.slots
    }

    /// Watches the log from now on, for the error that may follow.
    pub(super) fn watch(self) -> Watch {
        Watch { library: self, mark: self.0.logger.mark() }
    }

    pub(super) fn unsupported(self, what: &'static str, instead: &'static str) -> Error {
        Error::Unsupported { what, library: (self.flavor(), self.version()), instead }
    }

    /// Why the library created nothing: the driver is missing; otherwise `otherwise`.
    pub(super) fn no_driver_or(self, otherwise: Error) -> Error {
        self.0.driver.as_ref().err().cloned().map_or(otherwise, Error::NoDriver)
    }

    /// A new `IBuilder`, if the library has a builder.
    pub(super) fn create_builder(self) -> Option<Raw> {
        let create = self.0.create_builder?;
        // SAFETY: the logger lives as long as the process.
        Some(unsafe { create(self.0.logger.raw(), self.packed_version()) })
    }

    /// A new `IRuntime`.
    pub(super) fn create_runtime(self) -> Raw {
        // SAFETY: the logger lives as long as the process.
        unsafe { (self.0.create_runtime)(self.0.logger.raw(), self.packed_version()) }
    }

    /// A new `IParser` for a network.
    ///
    /// # Safety
    /// `network` is a live `INetworkDefinition` of this library, and outlives the parser.
    pub(super) unsafe fn create_parser(self, network: Raw) -> Result<Raw, LoadError> {
        let parser = self.0.parser.get_or_init(|| ParserLibrary::open(&self.0.path)).as_ref().map_err(Clone::clone)?;
        // SAFETY: by the caller's promise; the logger lives as long as the process.
        Ok(unsafe { (parser.create)(network, self.0.logger.raw(), parser.version) })
    }

    fn packed_version(self) -> i32 {
        let Version { major, minor, patch, .. } = self.0.version;
        major * 10_000 + minor * 100 + patch
    }

    /// The library at a resolved path, or what the loader finds under a bare name.
    fn loaded(path: PathBuf) -> Result<Self, LoadError> {
        static LOADED: Mutex<Vec<Library>> = Mutex::new(Vec::new());
        // Held while loading: two threads must not create two loggers for one library.
        let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(library) = loaded.iter().find(|library| library.path() == path) {
            return Ok(*library);
        }
        let library = Self(Box::leak(Box::new(Loaded::open(path)?)));
        loaded.push(library);
        Ok(library)
    }
}

impl PartialEq for Library {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.0, other.0)
    }
}

impl Eq for Library {}

impl fmt::Debug for Library {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ({})", self.flavor(), self.version(), self.path().display())
    }
}

impl Loaded {
    /// RTX builds plans on machines without a GPU, so a missing driver is only remembered here.
    fn open(path: PathBuf) -> Result<Self, LoadError> {
        let driver = Driver::initialise();
        let library = open(&path)?;
        // SAFETY: these symbols have had these types since TensorRT 8.
        unsafe {
            let create_runtime: Create = require(&library, &path, "createInferRuntime_INTERNAL")?;
            let version = version(&library, &path)?;
            let slots =
                version.slots().map_err(|why| LoadError::WrongMajor { path: path.clone(), found: version, why })?;
            Ok(Self {
                version,
                slots,
                create_builder: library.symbol("createInferBuilder_INTERNAL"),
                create_runtime,
                parser: OnceLock::new(),
                logger: Logger::new(version.has_plain_logger()),
                driver,
                path,
                _library: library,
            })
        }
    }
}

impl ParserLibrary {
    /// Opens the parser beside the library at `library`.
    fn open(library: &Path) -> Result<Self, LoadError> {
        let path = parser_path(library)
            .ok_or_else(|| LoadError::NotTensorRt { path: library.to_owned(), missing: "name of an ONNX parser" })?;
        if path.is_absolute() && !path.exists() {
            return Err(LoadError::NotFound { path });
        }
        let library = open(&path)?;
        // SAFETY: these symbols have these types in every release of these generations.
        unsafe {
            let create = require(&library, &path, "createNvOnnxParser_INTERNAL")?;
            let version: unsafe extern "C" fn() -> c_int = require(&library, &path, "getNvOnnxParserVersion")?;
            Ok(Self { create, version: version(), _library: library })
        }
    }
}

/// The log from one moment on, for the error that may follow.
#[derive(Clone, Copy, Debug)]
pub(super) struct Watch {
    library: Library,
    mark: Mark,
}

impl Watch {
    /// Errors and warnings logged since.
    pub(super) fn log(&self) -> Vec<LogLine> {
        self.library.0.logger.since(self.mark)
    }

    /// What `call` created, or an error that names it.
    pub(super) fn made<T>(&self, call: &'static str, made: Option<T>) -> Result<T> {
        made.ok_or_else(|| Error::Call { call, log: self.log() })
    }

    /// An error that names `call` if it returned false.
    pub(super) fn done(&self, call: &'static str, done: bool) -> Result<()> {
        if done { Ok(()) } else { Err(Error::Call { call, log: self.log() }) }
    }
}

/// `libtensorrt_rtx.so.1` → `libtensorrt_onnxparser_rtx.so.1`, `libnvinfer.so.11` → `libnvonnxparser.so.11`, and the
/// same for Windows' `tensorrt_rtx_1_7.dll` and `nvinfer_11.dll`.
fn parser_path(library: &Path) -> Option<PathBuf> {
    let name = library.file_name()?.to_str()?;
    let parser = if name.contains("tensorrt_rtx") {
        name.replacen("tensorrt_rtx", "tensorrt_onnxparser_rtx", 1)
    } else if name.contains("nvinfer.") || name.contains("nvinfer_1") {
        name.replacen("nvinfer", "nvonnxparser", 1)
    } else {
        return None;
    };
    Some(library.with_file_name(parser))
}

/// Opens a file, or what the loader finds under a bare name. The loader would wait at a named pipe for ever.
fn open(path: &Path) -> Result<Dynamic, LoadError> {
    let not_loadable = |why| LoadError::NotLoadable { path: path.to_owned(), why };
    if path.is_absolute() {
        coverslip_files::expect_file(path).map_err(|error| not_loadable(error.to_string()))?;
    }
    // SAFETY: the caller who names the path vouches for the file.
    unsafe { Dynamic::open(path) }.map_err(not_loadable)
}

/// # Safety
/// The symbol has the type `T`, a function pointer.
unsafe fn require<T: Copy>(library: &Dynamic, path: &Path, name: &'static str) -> Result<T, LoadError> {
    // SAFETY: by the caller's promise.
    unsafe { library.symbol(name) }.ok_or_else(|| LoadError::NotTensorRt { path: path.to_owned(), missing: name })
}

/// The version that the library reports; older libraries report one packed number only.
///
/// # Safety
/// The library's version functions take nothing and return an `int32_t`.
unsafe fn version(library: &Dynamic, path: &Path) -> Result<Version, LoadError> {
    type Get = unsafe extern "C" fn() -> i32;
    // SAFETY: by the caller's promise.
    unsafe {
        let packed = Version::from_packed(require::<Get>(library, path, "getInferLibVersion")?());
        let part = |name: &'static str| library.symbol::<Get>(name).map(|get| get());
        let parts = (part("getInferLibMajorVersion"), part("getInferLibMinorVersion"), part("getInferLibPatchVersion"));
        Ok(match parts {
            (Some(major), Some(minor), Some(patch)) => {
                Version { major, minor, patch, build: part("getInferLibBuildVersion").unwrap_or(0) }
            }
            _ => packed,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parser_lies_beside_the_library() {
        for (library, parser) in [
            ("/a/libtensorrt_rtx.so.1", Some("/a/libtensorrt_onnxparser_rtx.so.1")),
            ("/a/libtensorrt_rtx.so.1.7.1", Some("/a/libtensorrt_onnxparser_rtx.so.1.7.1")),
            ("/a/libnvinfer.so.11", Some("/a/libnvonnxparser.so.11")),
            ("/a/libnvinfer.so.10", Some("/a/libnvonnxparser.so.10")),
            ("tensorrt_rtx_1_7.dll", Some("tensorrt_onnxparser_rtx_1_7.dll")),
            ("nvinfer_11.dll", Some("nvonnxparser_11.dll")),
            ("/a/libnvinfer_lean.so.11", None),
            ("/a/libnvinfer_dispatch.so.11", None),
        ] {
            assert_eq!(parser_path(Path::new(library)), parser.map(PathBuf::from), "{library}");
        }
    }

    #[test]
    fn only_absolute_paths_are_loaded() {
        let error = Library::load("libtensorrt_rtx.so.1").unwrap_err();
        assert!(matches!(&error, Error::NotAbsolute { path } if path == Path::new("libtensorrt_rtx.so.1")), "{error}");
    }

    #[test]
    fn a_missing_file_is_reported() {
        let path = Path::new("/no/such/libtensorrt_rtx.so.1");
        let error = Library::load(path).unwrap_err();
        assert!(matches!(&error, Error::Load(why) if *why == LoadError::NotFound { path: path.to_owned() }), "{error}");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_file_that_is_not_tensorrt_is_reported() {
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
