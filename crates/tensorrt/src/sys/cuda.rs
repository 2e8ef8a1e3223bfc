//! CUDA's raw handles on their way to TensorRT.
//!
//! Any CUDA crate may make the streams and the memory. The caller states once, when it hands a handle over, what that
//! crate's types guarantee; everything after that is safe.

use std::any::Any;
use std::ffi::c_void;
use std::fmt;
use std::sync::Arc;

use super::abi::Raw;

/// The alignment that TensorRT requires of addresses.
pub(super) const ALIGNMENT: u64 = 256;

/// Keeps something alive that TensorRT points at.
pub(super) type Owner = Arc<dyn Any + Send + Sync>;

/// A CUDA stream (`CUstream`, the same as `cudaStream_t`).
#[derive(Clone)]
pub struct Stream {
    raw: Raw,
    _owner: Owner,
}

// SAFETY: any thread may use a CUDA stream.
unsafe impl Send for Stream {}
// SAFETY: as above.
unsafe impl Sync for Stream {}

impl Stream {
    /// Wraps a stream. Do not pass the default stream: TensorRT would synchronise the whole device.
    ///
    /// # Safety
    /// `raw` is a live stream until `owner` is dropped.
    pub unsafe fn from_raw(raw: *mut c_void, owner: Arc<dyn Any + Send + Sync>) -> Self {
        Self { raw, _owner: owner }
    }

    pub(super) fn raw(&self) -> Raw {
        self.raw
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stream({:p})", self.raw)
    }
}

/// Memory that the device reads and writes: its own, or pinned host memory.
#[derive(Clone)]
pub struct DeviceMemory {
    address: u64,
    bytes: u64,
    _owner: Owner,
}

impl DeviceMemory {
    /// Wraps memory.
    ///
    /// # Safety
    /// Until `owner` is dropped, the device may read and write `bytes` bytes at `address`. Dropping `owner` waits for
    /// work that uses them. A context drops it when other memory is bound to the same tensor, or at its own end, after
    /// waiting for its streams.
    pub unsafe fn from_raw(address: u64, bytes: u64, owner: Arc<dyn Any + Send + Sync>) -> Self {
        Self { address, bytes, _owner: owner }
    }

    /// The size in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The device address.
    pub fn address(&self) -> u64 {
        self.address
    }

    pub(super) fn raw(&self) -> Raw {
        std::ptr::with_exposed_provenance_mut(self.address as usize)
    }
}

impl fmt::Debug for DeviceMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeviceMemory({:#x}, {} bytes)", self.address, self.bytes)
    }
}
