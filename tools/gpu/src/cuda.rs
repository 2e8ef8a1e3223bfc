//! CUDA's driver, as far as this program measures it. Everything that is made here frees itself.

#![allow(unsafe_code, reason = "the driver is a C library; everybody else here calls this file")]

use std::ffi::{CStr, c_void};
use std::fmt;
use std::sync::Arc;

use coverslip_tensorrt as tensorrt;
use cudarc::driver::result::{self, DriverError};
use cudarc::driver::sys;

use crate::outcome::Stop;

/// A call that failed.
#[derive(Clone, Debug)]
pub(crate) struct CudaError {
    call: &'static str,
    pub(crate) code: i64,
}

pub(crate) const OUT_OF_MEMORY: i64 = 2;

impl fmt::Display for CudaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.code {
            1 => " (invalid value)",
            OUT_OF_MEMORY => " (out of memory)",
            201 => " (invalid context)",
            218 => " (invalid PTX)",
            222 => " (unsupported PTX version)",
            700 => " (illegal address)",
            709 => " (context is destroyed)",
            719 => " (launch failed)",
            801 => " (not supported)",
            _ => "",
        };
        write!(f, "{}: CUDA error {}{name}", self.call, self.code)
    }
}

impl From<CudaError> for Stop {
    fn from(error: CudaError) -> Self {
        Stop::Failed(error.to_string())
    }
}

pub(crate) type Cuda<T> = Result<T, CudaError>;

fn check<T>(call: &'static str, result: Result<T, DriverError>) -> Cuda<T> {
    // As a number at once: a newer driver has codes that the binding does not name.
    result.map_err(|error| CudaError { call, code: error.0 as i64 })
}

/// The first GPU, its primary context current on the thread that opened it.
pub(crate) struct Card {
    device: sys::CUdevice,
    context: sys::CUcontext,
    pub(crate) name: String,
    pub(crate) uuid: String,
}

impl Card {
    /// # Errors
    /// The step is left out where there is no driver or no GPU.
    pub(crate) fn open() -> Result<Card, Stop> {
        tensorrt::Driver::initialise().map_err(|why| Stop::LeftOut(why.to_string()))?;
        check("cuInit", result::init())?;
        let device = check("cuDeviceGet", result::device::get(0))?;
        let name = check("cuDeviceGetName", result::device::get_name(device))?;
        let uuid = check("cuDeviceGetUuid", result::device::get_uuid(device))?;
        let uuid: String = uuid.bytes.iter().map(|byte| format!("{:02x}", *byte as u8)).collect();
        let groups = [&uuid[..8], &uuid[8..12], &uuid[12..16], &uuid[16..20], &uuid[20..]];
        // SAFETY: a device that cuDeviceGet gave; released in Drop.
        let context = check("cuDevicePrimaryCtxRetain", unsafe { result::primary_ctx::retain(device) })?;
        let card = Card { device, context, name, uuid: format!("GPU-{}", groups.join("-")) };
        card.enter()?;
        Ok(card)
    }

    /// Makes the context current on this thread.
    pub(crate) fn enter(&self) -> Cuda<()> {
        // SAFETY: the context is retained.
        check("cuCtxSetCurrent", unsafe { result::ctx::set_current(self.context) })
    }

    /// One of `CU_DEVICE_ATTRIBUTE_*`.
    pub(crate) fn attribute(&self, which: sys::CUdevice_attribute) -> Cuda<i32> {
        // SAFETY: a device that cuDeviceGet gave.
        check("cuDeviceGetAttribute", unsafe { result::device::get_attribute(self.device, which) })
    }

    /// Bytes of its memory: free, and all.
    pub(crate) fn memory(&self) -> Cuda<(u64, u64)> {
        check("cuMemGetInfo", result::mem_get_info()).map(|(free, total)| (free as u64, total as u64))
    }

    /// The lowest and the highest priority of a stream.
    pub(crate) fn priorities(&self) -> Cuda<(i32, i32)> {
        check("cuCtxGetStreamPriorityRange", result::stream::get_priority_range())
    }

    pub(crate) fn stream(&self, priority: i32) -> Cuda<Arc<Stream>> {
        let kind = result::stream::StreamKind::NonBlocking;
        check("cuStreamCreateWithPriority", result::stream::create_with_priority(kind, priority))
            .map(|raw| Arc::new(Stream(raw)))
    }

    pub(crate) fn synchronize(&self) -> Cuda<()> {
        check("cuCtxSynchronize", result::ctx::synchronize())
    }

    /// Releases the context, and takes it again as a process would that wants to go on after an error.
    pub(crate) fn retain_again(&mut self) -> Cuda<()> {
        // SAFETY: retained once in `open`, and again here, so that Drop has one to release.
        unsafe {
            let released = check("cuDevicePrimaryCtxRelease", result::primary_ctx::release(self.device));
            self.context = check("cuDevicePrimaryCtxRetain", result::primary_ctx::retain(self.device))?;
            released?;
        }
        self.enter()
    }
}

impl Drop for Card {
    fn drop(&mut self) {
        // SAFETY: retained once.
        let _ = unsafe { result::primary_ctx::release(self.device) };
    }
}

pub(crate) struct Stream(sys::CUstream);

// SAFETY: CUDA's streams may be used from any thread.
unsafe impl Send for Stream {}
// SAFETY: as above.
unsafe impl Sync for Stream {}

impl Stream {
    pub(crate) fn wait(&self) -> Cuda<()> {
        // SAFETY: a live stream.
        check("cuStreamSynchronize", unsafe { result::stream::synchronize(self.0) })
    }

    pub(crate) fn priority(&self) -> Cuda<i32> {
        let mut priority = 0;
        // SAFETY: a live stream; writes one integer.
        let answer = unsafe { sys::cuStreamGetPriority(self.0, &raw mut priority) };
        check("cuStreamGetPriority", answer.result()).map(|()| priority)
    }

    /// Begins to copy to the device. The caller waits for the stream before either side is touched again.
    pub(crate) fn upload(&self, to: &Memory, from: &[u8]) -> Cuda<()> {
        assert!(from.len() <= to.bytes, "within the device's buffer");
        // SAFETY: within both buffers.
        check("cuMemcpyHtoDAsync", unsafe { result::memcpy_htod_async(to.address, from, self.0) })
    }

    /// Begins to copy from the device, as [`Stream::upload`].
    pub(crate) fn download(&self, to: &mut [u8], from: &Memory) -> Cuda<()> {
        assert!(to.len() <= from.bytes, "within the device's buffer");
        // SAFETY: within both buffers.
        check("cuMemcpyDtoHAsync", unsafe { result::memcpy_dtoh_async(to, from.address, self.0) })
    }

    /// What `body` puts on the stream, recorded instead of run.
    pub(crate) fn record(self: &Arc<Self>, body: impl FnOnce() -> Cuda<()>) -> Cuda<Graph> {
        let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        // SAFETY: a live stream; the capture ends whatever `body` does; the graph is destroyed once.
        unsafe {
            check("cuStreamBeginCapture", result::stream::begin_capture(self.0, mode))?;
            let went = body();
            let graph = check("cuStreamEndCapture", result::stream::end_capture(self.0))?;
            went?;
            let exec = result::graph::instantiate(graph, sys::CUgraphInstantiate_flags(0));
            let _ = result::graph::destroy(graph);
            Ok(Graph(check("cuGraphInstantiate", exec)?, self.clone()))
        }
    }

    /// As TensorRT takes it.
    pub(crate) fn for_tensorrt(self: &Arc<Self>) -> tensorrt::Stream {
        // SAFETY: it stays a stream until this, its owner, is dropped.
        unsafe { tensorrt::Stream::from_raw(self.0.cast::<c_void>(), self.clone()) }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // SAFETY: made once, destroyed once.
        let _ = unsafe { result::stream::destroy(self.0) };
    }
}

/// Recorded work.
pub(crate) struct Graph(sys::CUgraphExec, Arc<Stream>);

impl Graph {
    pub(crate) fn launch(&self) -> Cuda<()> {
        // SAFETY: live handles.
        check("cuGraphLaunch", unsafe { result::graph::launch(self.0, self.1.0) })
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        // SAFETY: instantiated once, destroyed once.
        let _ = unsafe { result::graph::exec_destroy(self.0) };
    }
}

/// An event on which a waiting thread sleeps, as the plugin's lanes do.
pub(crate) struct Event(sys::CUevent);

impl Event {
    pub(crate) fn new() -> Cuda<Event> {
        check("cuEventCreate", result::event::create(sys::CUevent_flags::CU_EVENT_BLOCKING_SYNC)).map(Event)
    }

    /// Waits for all that is on the stream.
    pub(crate) fn wait(&self, stream: &Stream) -> Cuda<()> {
        // SAFETY: a live event and a live stream.
        unsafe {
            check("cuEventRecord", result::event::record(self.0, stream.0))?;
            check("cuEventSynchronize", result::event::synchronize(self.0))
        }
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: made once, destroyed once.
        let _ = unsafe { result::event::destroy(self.0) };
    }
}

/// Memory of the device.
pub(crate) struct Memory {
    address: sys::CUdeviceptr,
    bytes: usize,
}

impl Memory {
    pub(crate) fn new(bytes: usize) -> Cuda<Arc<Memory>> {
        // SAFETY: freed in Drop.
        let address = check("cuMemAlloc", unsafe { result::malloc_sync(bytes.max(1)) })?;
        Ok(Arc::new(Memory { address, bytes }))
    }

    /// As TensorRT takes it.
    pub(crate) fn for_tensorrt(self: &Arc<Self>) -> tensorrt::DeviceMemory {
        // SAFETY: the device's to read and write until this, its owner, is dropped.
        unsafe { tensorrt::DeviceMemory::from_raw(self.address, self.bytes as u64, self.clone()) }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: allocated once, freed once.
        let _ = unsafe { result::free_sync(self.address) };
    }
}

/// Pinned memory of the host.
pub(crate) struct Pinned {
    place: *mut u8,
    bytes: usize,
}

impl Pinned {
    /// Write-combined memory passes the processor's cache by: it is to be written from end to end and not read.
    pub(crate) fn new(bytes: usize, write_combined: bool) -> Cuda<Pinned> {
        let flags = if write_combined { sys::CU_MEMHOSTALLOC_WRITECOMBINED } else { 0 };
        // SAFETY: freed in Drop; that many bytes are there to be zeroed.
        let place = check("cuMemHostAlloc", unsafe { result::malloc_host(bytes.max(1), flags) })?.cast::<u8>();
        // SAFETY: as above.
        unsafe { place.write_bytes(0, bytes) };
        Ok(Pinned { place, bytes })
    }

    pub(crate) fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: that many initialised bytes, borrowed as `self` is. A copy that is under way may write them: callers wait
        // for the stream first.
        unsafe { std::slice::from_raw_parts_mut(self.place, self.bytes) }
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        // SAFETY: allocated once, freed once.
        let _ = unsafe { result::free_host(self.place.cast::<c_void>()) };
    }
}

/// What the driver compiles into [`Kernels`].
const PTX: &CStr = match CStr::from_bytes_with_nul(concat!(include_str!("kernels.ptx"), "\0").as_bytes()) {
    Ok(text) => text,
    Err(_) => panic!("PTX has no NUL"),
};

/// Two kernels: one that the driver must kill, one that keeps the card busy.
pub(crate) struct Kernels {
    fault: sys::CUfunction,
    spin: sys::CUfunction,
}

impl Kernels {
    /// Compiled by the driver. They stay loaded as long as the context.
    pub(crate) fn load() -> Cuda<Kernels> {
        // SAFETY: PTX text that ends with a NUL; the functions are used as long as the context lives.
        unsafe {
            let module = check("cuModuleLoadData", result::module::load_data(PTX.as_ptr().cast()))?;
            let get = |name: &CStr| check("cuModuleGetFunction", result::module::get_function(module, name.to_owned()));
            Ok(Kernels { fault: get(c"fault")?, spin: get(c"spin")? })
        }
    }

    /// Begins to write where there is no memory.
    pub(crate) fn fault(&self, stream: &Stream) -> Cuda<()> {
        self.launch(self.fault, stream, 1, &mut [])
    }

    /// Begins so many blocks of 256 threads that multiply `rounds` times each.
    pub(crate) fn spin(&self, stream: &Stream, out: &Memory, blocks: u32, rounds: u32) -> Cuda<()> {
        let (mut address, mut rounds) = (out.address, rounds);
        self.launch(self.spin, stream, blocks, &mut [(&raw mut address).cast(), (&raw mut rounds).cast()])
    }

    fn launch(&self, which: sys::CUfunction, stream: &Stream, blocks: u32, args: &mut [*mut c_void]) -> Cuda<()> {
        // SAFETY: a function of a loaded module and its parameters, which the call copies.
        let begun = unsafe { result::launch_kernel(which, (blocks, 1, 1), (256, 1, 1), 0, stream.0, args) };
        check("cuLaunchKernel", begun)
    }
}
