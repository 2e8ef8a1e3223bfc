//! A TensorRT library in this process: loaded from a path, asked for its version, never unloaded.
//!
//! Unloading TensorRT crashes processes at their end (NVIDIA/TensorRT#4617), so what is loaded stays, and loading the
//! same file again gives the same [`Library`].

use std::ffi::c_int;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use super::abi::Raw;
use super::driver::{Driver, NoDriver};
use super::dynamic::Dynamic;
use super::logger::Logger;
use super::slots::Slots;
use super::version::{Flavor, Refusal, Version};

/// `createInferBuilder_INTERNAL`, `createInferRuntime_INTERNAL`: (logger, version that the caller was built against).
/// The library does not look at the version.
pub(super) type Create = unsafe extern "C" fn(Raw, i32) -> Raw;
/// `createNvOnnxParser_INTERNAL`: (network, logger, version).
pub(super) type CreateParser = unsafe extern "C" fn(Raw, Raw, c_int) -> Raw;

/// Why a file is not a TensorRT that this crate drives.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum LoadError {
    /// There is no such file.
    NotFound {
        /// Where it should be.
        path: PathBuf,
    },
    /// The loader refuses the file.
    NotLoadable {
        /// The file.
        path: PathBuf,
        /// What the loader said.
        why: String,
    },
    /// A library, but not TensorRT.
    NotTensorRt {
        /// The file.
        path: PathBuf,
        /// What it does not export.
        missing: &'static str,
    },
    /// TensorRT of a generation without an interface table here.
    WrongMajor {
        /// The file.
        path: PathBuf,
        /// What it says it is.
        found: Version,
        /// Why not, and what to install.
        why: Refusal,
    },
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound { path } => write!(f, "there is no {}", path.display()),
            Self::NotLoadable { path, why } => {
                write!(f, "{} cannot be loaded: {why}; is it for this machine, and is all of it there?", path.display())
            }
            Self::NotTensorRt { path, missing } => {
                write!(f, "{} is not TensorRT: it exports no `{missing}`", path.display())
            }
            Self::WrongMajor { path, found, why } => {
                let flavor = found.flavor();
                write!(
                    f,
                    "{} is {flavor} {found}; this program drives TensorRT 11 and TensorRT-RTX ≥ 1.5: {why}",
                    path.display()
                )
            }
        }
    }
}

impl std::error::Error for LoadError {}

/// A loaded library. There are no others than `&'static` ones.
pub struct Library {
    path: PathBuf,
    version: Version,
    slots: &'static Slots,
    create_builder: Option<Create>,
    create_runtime: Create,
    parser: OnceLock<Result<ParserLibrary, LoadError>>,
    logger: Logger,
    driver: Result<&'static Driver, NoDriver>,
    _library: Dynamic,
}

/// The ONNX parser, a library of its own beside TensorRT.
pub(super) struct ParserLibrary {
    pub(super) create: CreateParser,
    pub(super) version: c_int,
    _library: Dynamic,
}

impl Library {
    /// Loads the library at `path`. CUDA is initialised before, and whether that worked is remembered, not demanded:
    /// RTX builds plans on machines without a GPU.
    ///
    /// A path without a folder is left to the loader's search, with all that its environment may say.
    pub fn load(path: &Path) -> Result<&'static Self, LoadError> {
        static LOADED: Mutex<Vec<&'static Library>> = Mutex::new(Vec::new());
        let searched = path.components().count() == 1 && !path.is_absolute();
        let path = if searched {
            path.to_owned()
        } else {
            path.canonicalize().map_err(|_| LoadError::NotFound { path: path.to_owned() })?
        };
        // Held while loading: two threads must not get two loggers for one library.
        let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(library) = loaded.iter().find(|library| library.path == path) {
            return Ok(library);
        }
        let library: &'static Self = Box::leak(Box::new(Self::open(path)?));
        loaded.push(library);
        Ok(library)
    }

    fn open(path: PathBuf) -> Result<Self, LoadError> {
        let driver = Driver::initialise();
        let library = open(&path)?;
        // SAFETY: these symbols have these types in every release since TensorRT 8.
        unsafe {
            let create_runtime: Create = require(&library, &path, "createInferRuntime_INTERNAL")?;
            let version = version(&library, &path)?;
            let slots =
                version.slots().map_err(|why| LoadError::WrongMajor { path: path.clone(), found: version, why })?;
            Ok(Self {
                version,
                slots,
                // The lean and the dispatch runtime have none.
                create_builder: library.symbol("createInferBuilder_INTERNAL"),
                create_runtime,
                parser: OnceLock::new(),
                logger: Logger::new(),
                driver,
                path,
                _library: library,
            })
        }
    }

    /// Where it came from; links resolved.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it says it is.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Which product.
    pub fn flavor(&self) -> Flavor {
        self.version.flavor()
    }

    /// Where its methods are.
    pub fn slots(&self) -> &'static Slots {
        self.slots
    }

    /// Its log.
    pub fn logger(&'static self) -> &'static Logger {
        &self.logger
    }

    /// The driver, or why there is none.
    pub fn driver(&self) -> Result<&'static Driver, NoDriver> {
        self.driver.clone()
    }

    /// Whether it can build plans at all. The lean and the dispatch runtime cannot.
    pub fn has_builder(&self) -> bool {
        self.create_builder.is_some()
    }

    pub(super) fn create_builder(&'static self) -> Option<Raw> {
        let create = self.create_builder?;
        // SAFETY: the logger lives as long as the process.
        Some(unsafe { create(self.logger.raw(), self.packed_version()) })
    }

    pub(super) fn create_runtime(&'static self) -> Raw {
        // SAFETY: the logger lives as long as the process.
        unsafe { (self.create_runtime)(self.logger.raw(), self.packed_version()) }
    }

    /// The parser that lies beside the library.
    pub(super) fn parser(&self) -> Result<&ParserLibrary, LoadError> {
        let loaded = self.parser.get_or_init(|| {
            let path = parser_path(&self.path)
                .ok_or_else(|| LoadError::NotTensorRt { path: self.path.clone(), missing: "name of an ONNX parser" })?;
            if path.is_absolute() && !path.exists() {
                return Err(LoadError::NotFound { path });
            }
            let library = open(&path)?;
            // SAFETY: these symbols have these types in every release of these generations.
            unsafe {
                let create = require(&library, &path, "createNvOnnxParser_INTERNAL")?;
                let version: unsafe extern "C" fn() -> c_int = require(&library, &path, "getNvOnnxParserVersion")?;
                Ok(ParserLibrary { create, version: version(), _library: library })
            }
        });
        loaded.as_ref().map_err(Clone::clone)
    }

    fn packed_version(&self) -> i32 {
        self.version.major * 10_000 + self.version.minor * 100 + self.version.patch
    }
}

impl fmt::Debug for Library {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ({})", self.flavor(), self.version, self.path.display())
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

fn open(path: &Path) -> Result<Dynamic, LoadError> {
    // SAFETY: whoever names the path vouches for the file.
    unsafe { Dynamic::open(path) }.map_err(|why| LoadError::NotLoadable { path: path.to_owned(), why })
}

/// # Safety
/// The symbol has the type `T`, a function pointer.
unsafe fn require<T: Copy>(library: &Dynamic, path: &Path, name: &'static str) -> Result<T, LoadError> {
    // SAFETY: by the caller's promise.
    unsafe { library.symbol(name) }.ok_or_else(|| LoadError::NotTensorRt { path: path.to_owned(), missing: name })
}

/// Asks the library; older ones have one number only.
///
/// # Safety
/// The library's version functions take nothing and answer an `int32_t`.
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
            ("tensorrt_rtx_1_7.dll", Some("tensorrt_onnxparser_rtx_1_7.dll")),
            ("nvinfer_11.dll", Some("nvonnxparser_11.dll")),
            ("/a/libnvinfer_lean.so.11", None),
            ("/a/libnvinfer_dispatch.so.11", None),
        ] {
            assert_eq!(parser_path(Path::new(library)), parser.map(PathBuf::from), "{library}");
        }
    }

    #[test]
    fn what_is_not_there() {
        let path = Path::new("/no/such/libtensorrt_rtx.so.1");
        let error = Library::load(path).unwrap_err();
        assert_eq!(error, LoadError::NotFound { path: path.to_owned() });
    }
}
