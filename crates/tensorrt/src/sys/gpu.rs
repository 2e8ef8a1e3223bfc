//! The GPUs that the driver sees: what a plan is for, and what a person wants to know.

use std::ffi::{c_char, c_int};
use std::fmt::Write as _;

use super::callback::text;
use super::driver::Driver;
use super::types::ComputeCapability;

// `CUdevice_attribute`.
const MULTIPROCESSOR_COUNT: c_int = 16;
const COMPUTE_CAPABILITY_MAJOR: c_int = 75;
const COMPUTE_CAPABILITY_MINOR: c_int = 76;

/// A GPU, as its driver describes it. What the driver does not tell is empty or 0.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Gpu {
    /// As NVIDIA sells it.
    pub name: String,
    /// `GPU-` and five groups of hexadecimal digits, as `nvidia-smi -L` prints it.
    pub uuid: String,
    /// Its generation.
    pub compute_capability: ComputeCapability,
    /// Bytes of memory.
    pub memory: u64,
    /// Streaming multiprocessors.
    pub multiprocessors: u32,
}

type Device = c_int;

impl Driver {
    /// The GPUs that this process may use, in CUDA's order. No context is made, so no memory is taken.
    pub fn gpus(&self) -> Vec<Gpu> {
        (0..self.devices()).filter_map(|ordinal| self.gpu(ordinal)).collect()
    }

    fn gpu(&self, ordinal: i32) -> Option<Gpu> {
        // SAFETY: `CUresult cuDeviceGet(CUdevice*, int)`, of the driver API since CUDA 2.
        let get: unsafe extern "C" fn(*mut Device, c_int) -> c_int = unsafe { self.symbol("cuDeviceGet") }?;
        let mut device = 0;
        // SAFETY: the place is ours; the driver is initialised.
        if unsafe { get(&raw mut device, ordinal) } != 0 {
            return None;
        }
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
        // SAFETY: `CUresult cuDeviceGetAttribute(int*, CUdevice_attribute, CUdevice)`.
        let get: unsafe extern "C" fn(*mut c_int, c_int, Device) -> c_int =
            unsafe { self.symbol("cuDeviceGetAttribute") }?;
        let mut value = 0;
        // SAFETY: the place is ours, the device is the driver's.
        (unsafe { get(&raw mut value, which, device) } == 0).then_some(value)
    }

    fn name(&self, device: Device) -> Option<String> {
        // SAFETY: `CUresult cuDeviceGetName(char*, int, CUdevice)`.
        let get: unsafe extern "C" fn(*mut c_char, c_int, Device) -> c_int = unsafe { self.symbol("cuDeviceGetName") }?;
        let mut name = [0; 256];
        // SAFETY: the buffer is ours and as long as said; the driver ends the name with zero, and so does the last
        // byte, which it is not told of.
        unsafe { (get(name.as_mut_ptr(), name.len() as c_int - 1, device) == 0).then(|| text(name.as_ptr()))? }
    }

    fn uuid(&self, device: Device) -> Option<String> {
        // SAFETY: `CUresult cuDeviceGetUuid(CUuuid*, CUdevice)`, 16 bytes.
        let get: unsafe extern "C" fn(*mut [u8; 16], Device) -> c_int = unsafe { self.symbol("cuDeviceGetUuid") }?;
        let mut bytes = [0; 16];
        // SAFETY: the place is ours.
        if unsafe { get(&raw mut bytes, device) } != 0 {
            return None;
        }
        let mut uuid = "GPU".to_owned();
        for (i, byte) in bytes.iter().enumerate() {
            let dash = if [0, 4, 6, 8, 10].contains(&i) { "-" } else { "" };
            // Writing to a String cannot fail.
            let _ = write!(uuid, "{dash}{byte:02x}");
        }
        Some(uuid)
    }

    fn memory(&self, device: Device) -> Option<u64> {
        // SAFETY: `CUresult cuDeviceTotalMem_v2(size_t*, CUdevice)`.
        let get: unsafe extern "C" fn(*mut usize, Device) -> c_int = unsafe { self.symbol("cuDeviceTotalMem_v2") }?;
        let mut bytes = 0;
        // SAFETY: the place is ours.
        (unsafe { get(&raw mut bytes, device) } == 0).then_some(bytes as u64)
    }
}
