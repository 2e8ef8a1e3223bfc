//! NVIDIA's driver, as little of it as is needed: initialise, count, wait for a stream.
//!
//! TensorRT links no CUDA but looks for the driver by itself, and some of its libraries answer nonsense when there is
//! none. So this looks first, before TensorRT is even loaded. Streams, memory and events are not made here: any CUDA
//! crate's raw handles are taken ([`super::Stream`]).

use std::ffi::{c_int, c_uint, c_void};
use std::fmt;
use std::path::Path;
use std::sync::OnceLock;

use super::dynamic::Dynamic;

/// The driver's library, as the loader finds it. Only the driver installs it; there is no path to give.
#[cfg(not(windows))]
const NAMES: &[&str] = &["libcuda.so.1", "libcuda.so"];
#[cfg(windows)]
const NAMES: &[&str] = &["nvcuda.dll"];

const CUDA_SUCCESS: c_int = 0;
const CUDA_ERROR_STUB_LIBRARY: c_int = 34;
const CUDA_ERROR_NO_DEVICE: c_int = 100;

/// Why there is no driver to use.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum NoDriver {
    /// The loader finds no such library.
    NotInstalled {
        /// What the loader said.
        why: String,
    },
    /// A library of that name lacks a function.
    NotADriver {
        /// The function.
        missing: &'static str,
    },
    /// The driver is there and does not start.
    Failed {
        /// CUDA's error code.
        code: i32,
    },
    /// The driver runs and sees no GPU.
    NoDevice,
}

impl fmt::Display for NoDriver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotInstalled { why } => write!(f, "no NVIDIA driver is installed ({why}): install one"),
            Self::NotADriver { missing } => {
                write!(
                    f,
                    "the library that the loader takes for NVIDIA's driver has no `{missing}`: reinstall the driver"
                )
            }
            Self::Failed { code: CUDA_ERROR_STUB_LIBRARY } => {
                f.write_str("the CUDA toolkit's stub stands where the driver should be: take it off the library path")
            }
            Self::Failed { code } => {
                write!(f, "NVIDIA's driver does not start (CUDA error {code}): see nvidia-smi; reboot or reinstall it")
            }
            Self::NoDevice => f.write_str(
                "NVIDIA's driver sees no GPU: check the card, CUDA_VISIBLE_DEVICES and the container's devices",
            ),
        }
    }
}

impl std::error::Error for NoDriver {}

type Stream = *mut c_void;

/// The initialised driver. Never unloaded.
pub struct Driver {
    version: i32,
    devices: i32,
    synchronize: unsafe extern "C" fn(Stream) -> c_int,
    library: Dynamic,
}

impl Driver {
    /// Initialises CUDA; the first success counts for the process.
    pub fn initialise() -> Result<&'static Self, NoDriver> {
        static DRIVER: OnceLock<Driver> = OnceLock::new();
        if let Some(driver) = DRIVER.get() {
            return Ok(driver);
        }
        let driver = Self::open(NAMES)?;
        Ok(DRIVER.get_or_init(|| driver))
    }

    /// The newest CUDA that the driver knows, as 1000 · major + 10 · minor.
    pub fn cuda_version(&self) -> i32 {
        self.version
    }

    /// GPUs that this process may use; at least one.
    pub fn devices(&self) -> i32 {
        self.devices
    }

    /// A function of the driver's, where it has it.
    ///
    /// # Safety
    /// It has the type `T`, a function pointer.
    pub(super) unsafe fn symbol<T: Copy>(&self, name: &str) -> Option<T> {
        // SAFETY: by the caller's promise.
        unsafe { self.library.symbol(name) }
    }

    /// Waits until a stream's work is done; false where it fails.
    ///
    /// # Safety
    /// `stream` is a live stream.
    pub(super) unsafe fn synchronize(&self, stream: Stream) -> bool {
        // SAFETY: by the caller's promise.
        unsafe { (self.synchronize)(stream) == CUDA_SUCCESS }
    }

    fn open(names: &[&str]) -> Result<Self, NoDriver> {
        let library = find(names)?;
        // SAFETY: these are the driver API's functions with their documented signatures, unchanged since CUDA 2.
        unsafe {
            let initialise: unsafe extern "C" fn(c_uint) -> c_int = require(&library, "cuInit")?;
            let get_version: unsafe extern "C" fn(*mut c_int) -> c_int = require(&library, "cuDriverGetVersion")?;
            let get_count: unsafe extern "C" fn(*mut c_int) -> c_int = require(&library, "cuDeviceGetCount")?;
            let synchronize = require(&library, "cuStreamSynchronize")?;
            let (mut version, mut devices) = (0, 0);
            succeeded(initialise(0))?;
            succeeded(get_version(&raw mut version))?;
            succeeded(get_count(&raw mut devices))?;
            if devices < 1 {
                return Err(NoDriver::NoDevice);
            }
            Ok(Self { version, devices, synchronize, library })
        }
    }
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver").field("version", &self.version).field("devices", &self.devices).finish_non_exhaustive()
    }
}

/// # Safety
/// The symbol has the type `T`, a function pointer.
unsafe fn require<T: Copy>(library: &Dynamic, name: &'static str) -> Result<T, NoDriver> {
    // SAFETY: by the caller's promise.
    unsafe { library.symbol(name) }.ok_or(NoDriver::NotADriver { missing: name })
}

fn succeeded(code: c_int) -> Result<(), NoDriver> {
    match code {
        CUDA_SUCCESS => Ok(()),
        CUDA_ERROR_NO_DEVICE => Err(NoDriver::NoDevice),
        code => Err(NoDriver::Failed { code }),
    }
}

/// The first of `names` that the loader finds.
fn find(names: &[&str]) -> Result<Dynamic, NoDriver> {
    let mut why = String::new();
    for name in names {
        // SAFETY: it is the driver's library, or one that was put in its place by whoever runs this machine.
        match unsafe { Dynamic::open(Path::new(name)) } {
            Ok(library) => return Ok(library),
            Err(error) if why.is_empty() => why = error,
            Err(_) => {}
        }
    }
    Err(NoDriver::NotInstalled { why })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_such_library() {
        let error = Driver::open(&["libcoverslip-no-such-driver.so.1"]).unwrap_err();
        assert!(matches!(&error, NoDriver::NotInstalled { why } if why.contains("no-such-driver")), "{error}");
        assert!(error.to_string().contains("install one"));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_decoy_is_recognised() {
        assert_eq!(Driver::open(&["libc.so.6"]).unwrap_err(), NoDriver::NotADriver { missing: "cuInit" });
    }
}
