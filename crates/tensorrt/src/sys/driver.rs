//! NVIDIA's driver, as little of it as TensorRT needs: start it, describe the GPUs, wait for a stream.
//!
//! TensorRT does not link CUDA; it looks for the driver by itself, and some of its libraries return garbage if there is
//! none. So the driver is started before TensorRT is even loaded. The caller makes streams and memory
//! ([`super::cuda`]).

use std::ffi::{c_char, c_int, c_uint, c_void};
use std::fmt;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::OnceLock;

use super::abi::text;
use super::codes::ComputeCapability;
use super::cuda::Stream;
use super::dynamic::Dynamic;

/// The names of the driver's library, which only the driver's installer puts on the loader's path.
#[cfg(not(windows))]
const NAMES: &[&str] = &["libcuda.so.1", "libcuda.so"];
#[cfg(windows)]
const NAMES: &[&str] = &["nvcuda.dll"];

const CUDA_SUCCESS: c_int = 0;
const CUDA_ERROR_STUB_LIBRARY: c_int = 34;
const CUDA_ERROR_NO_DEVICE: c_int = 100;

// `CUdevice_attribute`.
const MULTIPROCESSOR_COUNT: c_int = 16;
const COMPUTE_CAPABILITY_MAJOR: c_int = 75;
const COMPUTE_CAPABILITY_MINOR: c_int = 76;

/// Why no driver can be used.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum NoDriver {
    /// The loader finds no such library.
    NotInstalled {
        /// The loader's reason.
        why: String,
    },
    /// A library of that name lacks a function.
    NotADriver {
        /// The function.
        missing: &'static str,
    },
    /// The driver is installed and does not start.
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
                write!(f, "the library under the name of NVIDIA's driver exports no `{missing}`: reinstall the driver")
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

/// The initialised driver. Never unloaded.
pub struct Driver {
    version: i32,
    devices: i32,
    synchronize: unsafe extern "C" fn(*mut c_void) -> c_int,
    library: Dynamic,
}

/// A GPU as the driver describes it. A property that the driver does not report is empty or 0.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Gpu {
    /// The product name.
    pub name: String,
    /// `GPU-` and five groups of hexadecimal digits, as `nvidia-smi -L` prints it.
    pub uuid: String,
    /// The SM version.
    pub compute_capability: ComputeCapability,
    /// Memory, in bytes.
    pub memory: u64,
    /// Streaming multiprocessors.
    pub multiprocessors: u32,
}

type Device = c_int;

/// Calls a driver function that returns a `CUresult`: `Some(())` on success, `None` where it fails or is missing.
/// Unsafe: the function must have this signature.
macro_rules! cuda {
    ($library:expr, $name:literal, ($($argument:expr => $type:ty),*)) => {
        ($library.symbol::<unsafe extern "C" fn($($type),*) -> c_int>($name))
            .filter(|function| function($($argument),*) == CUDA_SUCCESS)
            .map(|_| ())
    };
}

impl Driver {
    /// Initialises CUDA. The first success holds for the process.
    pub fn initialise() -> Result<&'static Self, NoDriver> {
        static DRIVER: OnceLock<Driver> = OnceLock::new();
        if let Some(driver) = DRIVER.get() {
            return Ok(driver);
        }
        let driver = Self::open(NAMES)?;
        Ok(DRIVER.get_or_init(|| driver))
    }

    /// The newest CUDA version that the driver supports, as 1000 · major + 10 · minor.
    pub fn cuda_version(&self) -> i32 {
        self.version
    }

    /// The GPUs that this process may use, in CUDA's order; at least one. This makes no context and takes no memory.
    pub fn gpus(&self) -> Vec<Gpu> {
        (0..self.devices).filter_map(|ordinal| self.gpu(ordinal)).collect()
    }

    /// Waits for a stream's work. A failed wait is not reported.
    pub(super) fn synchronize(&self, stream: &Stream) {
        // SAFETY: `CUresult cuStreamSynchronize(CUstream)`; a `Stream` is live.
        unsafe { (self.synchronize)(stream.raw()) };
    }

    fn open(names: &[&str]) -> Result<Self, NoDriver> {
        let library = find(names)?;
        // SAFETY: the driver API documents these signatures; they have not changed since CUDA 2.
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

    fn gpu(&self, ordinal: i32) -> Option<Gpu> {
        let mut device = 0;
        // SAFETY: `CUresult cuDeviceGet(CUdevice*, int)`.
        unsafe { cuda!(self.library, "cuDeviceGet", (&raw mut device => *mut Device, ordinal => c_int)) }?;
        let attribute = |which| self.attribute(device, which).unwrap_or_default();
        let capability = 10 * attribute(COMPUTE_CAPABILITY_MAJOR) + attribute(COMPUTE_CAPABILITY_MINOR);
        Some(Gpu {
            name: self.name(device).unwrap_or_default(),
            uuid: self.uuid(device).unwrap_or_default(),
            compute_capability: ComputeCapability(capability),
            memory: self.memory(device).unwrap_or_default(),
            multiprocessors: attribute(MULTIPROCESSOR_COUNT).max(0).unsigned_abs(),
        })
    }

    fn attribute(&self, device: Device, which: c_int) -> Option<i32> {
        let mut value = 0;
        let place = &raw mut value;
        // SAFETY: `CUresult cuDeviceGetAttribute(int*, CUdevice_attribute, CUdevice)`.
        unsafe {
            cuda!(self.library, "cuDeviceGetAttribute", (place => *mut c_int, which => c_int, device => Device))?;
        }
        Some(value)
    }

    fn name(&self, device: Device) -> Option<String> {
        let mut name = [0; 256];
        let length = name.len() as c_int - 1;
        // SAFETY: `CUresult cuDeviceGetName(char*, int, CUdevice)`. The driver ends the name with a zero byte; so does
        // the last byte of the buffer, which the driver is not told of.
        unsafe {
            let place = name.as_mut_ptr();
            cuda!(self.library, "cuDeviceGetName", (place => *mut c_char, length => c_int, device => Device))?;
            text(name.as_ptr())
        }
    }

    fn uuid(&self, device: Device) -> Option<String> {
        let mut bytes = [0; 16];
        // SAFETY: `CUresult cuDeviceGetUuid(CUuuid*, CUdevice)`; a `CUuuid` has 16 bytes.
        unsafe { cuda!(self.library, "cuDeviceGetUuid", (&raw mut bytes => *mut [u8; 16], device => Device)) }?;
        let mut uuid = "GPU".to_owned();
        for (i, byte) in bytes.iter().enumerate() {
            let dash = if [0, 4, 6, 8, 10].contains(&i) { "-" } else { "" };
            // Writing to a String cannot fail.
            let _ = write!(uuid, "{dash}{byte:02x}");
        }
        Some(uuid)
    }

    fn memory(&self, device: Device) -> Option<u64> {
        let mut bytes = 0;
        // SAFETY: `CUresult cuDeviceTotalMem_v2(size_t*, CUdevice)`.
        unsafe { cuda!(self.library, "cuDeviceTotalMem_v2", (&raw mut bytes => *mut usize, device => Device)) }?;
        Some(bytes as u64)
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
        // SAFETY: this is the driver's library, or what the machine's administrator put in its place.
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
