//! What a plan needs: the driver, TensorRT's library, a GPU that it runs on. Each has its own reason when it is missing.

use std::sync::Arc;

use coverslip_plugin_abi as abi;
use coverslip_tensorrt as tensorrt;
use coverslip_tensorrt::{ComputeCapability, Driver, Library, LoadError};

use super::cuda::Device;
use super::lane::cuda_lost;
use crate::Loss;
use crate::config::GpuConfig;
use coverslip_base::error::error;

/// Turing, the oldest GPU of TensorRT 11 and of TensorRT-RTX.
const OLDEST_CAPABILITY: (i32, i32) = (7, 5);
/// The oldest CUDA that a driver must know for the binding's functions.
const OLDEST_CUDA: i32 = 12_000;

/// A loss with the code ENGINE_UNAVAILABLE.
macro_rules! unavailable {
    ($reason:ident, $($text:tt)*) => {
        Loss { reason: abi::$reason, error: error!(ENGINE_UNAVAILABLE, $($text)*) }
    };
}
pub(super) use unavailable;

/// TensorRT's library: the one that the host names, or the one that the loader finds when that is allowed.
pub(super) fn library(config: &GpuConfig) -> Result<Library, Loss> {
    let found = match (&config.library, config.search) {
        (Some(path), _) => Library::load(path),
        (None, true) => Library::search(),
        (None, false) => {
            return Err(unavailable!(
                REASON_NO_LIBRARY,
                "no TensorRT library is named: set runtime_desc.tensorrt_library, or allow the loader's search"
            ));
        }
    };
    let library = found.map_err(|e| Loss { reason: reason(&e), error: error!(ENGINE_UNAVAILABLE, "{e}") })?;
    // First the driver: without one no other message helps.
    Driver::initialise().map_err(|why| unavailable!(REASON_NO_DRIVER, "{why}"))?;
    Ok(library)
}

/// The contract's reason for a library that did not load.
fn reason(error: &tensorrt::Error) -> i32 {
    let other_version = |error: &LoadError| matches!(error, LoadError::WrongMajor { .. });
    match error {
        tensorrt::Error::Load(error) if other_version(error) => abi::REASON_UNSUPPORTED_VERSION,
        tensorrt::Error::NotFound { tried } if tried.iter().any(other_version) => abi::REASON_UNSUPPORTED_VERSION,
        tensorrt::Error::NoDriver(_) => abi::REASON_NO_DRIVER,
        _ => abi::REASON_NO_LIBRARY,
    }
}

/// The GPU that the host names, or the first one. Makes it current on this thread.
pub(super) fn device(config: &GpuConfig) -> Result<Arc<Device>, Loss> {
    let device = match Device::open(config.uuid.as_deref()).map_err(cuda_lost)? {
        Ok(device) => device,
        Err(others) => {
            return Err(unavailable!(
                REASON_UNSUPPORTED_DEVICE,
                "expected the GPU {}, found {}: see nvidia-smi -L",
                config.uuid.as_deref().unwrap_or("of any UUID"),
                if others.is_empty() { "none".into() } else { others.join(", ") }
            ));
        }
    };
    if device.cuda_version < OLDEST_CUDA {
        return Err(unavailable!(
            REASON_NO_DRIVER,
            "the driver knows CUDA up to {}, expected at least {}: update the driver",
            cuda_version(device.cuda_version),
            cuda_version(OLDEST_CUDA)
        ));
    }
    if device.capability < OLDEST_CAPABILITY {
        let (major, minor) = device.capability;
        return Err(unavailable!(
            REASON_UNSUPPORTED_DEVICE,
            "{} has compute capability {major}.{minor}, expected at least {}.{}: TensorRT does not run on it",
            device.name,
            OLDEST_CAPABILITY.0,
            OLDEST_CAPABILITY.1
        ));
    }
    Ok(device)
}

/// TensorRT-RTX leaves out the GPUs of data centres, which it only says of a plan that it has built for one.
pub(super) fn accepted(library: Library, device: &Device) -> Result<(), Loss> {
    let (major, minor) = device.capability;
    match tensorrt::plan::accepts(library, ComputeCapability(10 * major + minor)) {
        Err(tensorrt::Error::Targets { library: (flavor, version), .. }) => Err(unavailable!(
            REASON_UNSUPPORTED_DEVICE,
            "{flavor} {version} does not run on {}, of compute capability {major}.{minor}: install TensorRT 10 \
             or 11 (libnvinfer.so.11) and name it in runtime_desc.tensorrt_library",
            device.name
        )),
        // Whatever else fails, the build says better.
        _ => Ok(()),
    }
}

/// 13000 becomes 13.0.
pub(super) fn cuda_version(version: i32) -> String {
    format!("{}.{}", version / 1000, version % 1000 / 10)
}
