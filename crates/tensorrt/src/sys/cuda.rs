//! Raw handles of CUDA on their way to TensorRT.
//!
//! Streams, events and memory are made by whatever CUDA crate a program uses. What that crate's types guarantee is
//! promised here once, when a handle is taken; after that everything is safe.

use std::ffi::c_void;
use std::fmt;

use super::abi::Raw;
use super::object::Owner;

/// How TensorRT wants addresses aligned.
pub const ALIGNMENT: u64 = 256;

/// A CUDA stream (`CUstream`, the same as `cudaStream_t`).
#[derive(Clone)]
pub struct Stream {
    raw: Raw,
    _owner: Owner,
}

// SAFETY: CUDA's streams may be used from any thread.
unsafe impl Send for Stream {}
// SAFETY: as above.
unsafe impl Sync for Stream {}

impl Stream {
    /// Takes a stream. Not the default stream: TensorRT would wait for the whole device there.
    ///
    /// # Safety
    /// `raw` is a stream, and stays one until `owner` is dropped.
    pub unsafe fn from_raw(raw: *mut c_void, owner: Owner) -> Self {
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

/// A CUDA event (`CUevent`).
#[derive(Clone)]
pub struct Event {
    raw: Raw,
    _owner: Owner,
}

// SAFETY: CUDA's events may be used from any thread.
unsafe impl Send for Event {}
// SAFETY: as above.
unsafe impl Sync for Event {}

impl Event {
    /// Takes an event.
    ///
    /// # Safety
    /// `raw` is an event, and stays one until `owner` is dropped.
    pub unsafe fn from_raw(raw: *mut c_void, owner: Owner) -> Self {
        Self { raw, _owner: owner }
    }

    pub(super) fn raw(&self) -> Raw {
        self.raw
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Event({:p})", self.raw)
    }
}

/// Memory that the device reads and writes: its own, or pinned memory of the host's.
#[derive(Clone)]
pub struct DeviceMemory {
    address: u64,
    bytes: u64,
    _owner: Owner,
}

impl DeviceMemory {
    /// Takes memory.
    ///
    /// # Safety
    /// The device may read and write `bytes` bytes from `address` on, until `owner` is dropped; and dropping it waits
    /// for work that uses them. A context drops it when other memory is bound to the same tensor, and at its own end,
    /// for which it waits for its last stream.
    pub unsafe fn from_raw(address: u64, bytes: u64, owner: Owner) -> Self {
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
