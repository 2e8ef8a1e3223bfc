//! The part of CUDA's driver API that a test needs for memory and a stream.

use std::ffi::{c_int, c_uint, c_void};
use std::sync::Arc;

use coverslip_tensorrt::{DeviceMemory, Stream};
use libloading::Library;

type Handle = *mut c_void;

/// The first device's primary context, current on this thread.
pub(crate) struct Cuda(Library);

/// Calls a driver function and expects the code 0.
macro_rules! cuda {
    ($library:expr, $name:literal, $($argument:expr => $type:ty),*) => {{
        // SAFETY: the driver API documents this signature.
        let code = unsafe {
            let function: libloading::Symbol<'_, unsafe extern "C" fn($($type),*) -> c_int> =
                $library.get($name).unwrap();
            function($($argument),*)
        };
        assert_eq!(code, 0, $name);
    }};
}

impl Cuda {
    /// Requires a driver and a device.
    pub(crate) fn new() -> Self {
        // SAFETY: the driver's library; the crate under test keeps it loaded.
        let library = unsafe { Library::new("libcuda.so.1") }.unwrap();
        let mut context: Handle = std::ptr::null_mut();
        cuda!(library, "cuInit", 0 => c_uint);
        cuda!(library, "cuDevicePrimaryCtxRetain", &raw mut context => *mut Handle, 0 => c_int);
        cuda!(library, "cuCtxSetCurrent", context => Handle);
        Self(library)
    }

    /// A stream, never destroyed.
    pub(crate) fn stream(&self) -> Stream {
        let mut stream: Handle = std::ptr::null_mut();
        const NON_BLOCKING: c_uint = 1;
        cuda!(self.0, "cuStreamCreate", &raw mut stream => *mut Handle, NON_BLOCKING => c_uint);
        // SAFETY: a stream that is never destroyed.
        unsafe { Stream::from_raw(stream, Arc::new(())) }
    }

    /// Memory that holds `bytes`, never freed.
    pub(crate) fn memory(&self, bytes: &[u8]) -> DeviceMemory {
        let mut address = 0u64;
        cuda!(self.0, "cuMemAlloc_v2", &raw mut address => *mut u64, bytes.len() => usize);
        cuda!(self.0, "cuMemcpyHtoD_v2", address => u64, bytes.as_ptr().cast() => *const c_void, bytes.len() => usize);
        // SAFETY: memory of this size that is never freed.
        unsafe { DeviceMemory::from_raw(address, bytes.len() as u64, Arc::new(())) }
    }

    /// Waits for all work, then reads.
    pub(crate) fn read(&self, memory: &DeviceMemory) -> Vec<u8> {
        let mut bytes = vec![0u8; memory.bytes() as usize];
        cuda!(self.0, "cuCtxSynchronize",);
        let (to, from) = (bytes.as_mut_ptr().cast(), memory.address());
        cuda!(self.0, "cuMemcpyDtoH_v2", to => *mut c_void, from => u64, bytes.len() => usize);
        bytes
    }
}
