//! CUDA as far as a lane needs it: a device, a stream of the lowest priority, pinned buffers on the host, memory on the
//! device. The only place of the engine with `unsafe`.
//!
//! Every type here is used on threads of the plugin alone, each of which has called [`Device::enter`]: a CUDA context
//! that became current on a thread of the host's would be the host's surprise. CUDA's codes are taken as numbers at
//! once, because a driver that is newer than the binding may answer one that the binding has no name for.

#![allow(unsafe_code)]

use std::ffi::{c_int, c_void};
use std::fmt;
use std::sync::Arc;

use coverslip_tensorrt as tensorrt;
use cudarc::driver::result::{self, DriverError};
use cudarc::driver::sys;

use crate::TileMemory;

/// Where a part of a buffer may begin: TensorRT's alignment.
pub(super) const ALIGNMENT: usize = 256;

/// A call of CUDA's that failed.
#[derive(Clone, Debug)]
pub(super) struct CudaError {
    /// The function.
    call: &'static str,
    /// CUDA's code.
    pub(super) code: i64,
}

impl CudaError {
    /// The device's memory, or what may be pinned, is used up.
    pub(super) fn is_out_of_memory(&self) -> bool {
        self.code == sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY as i64
    }
}

impl fmt::Display for CudaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} failed with CUDA error {}", self.call, self.code)
    }
}

/// Names the call that failed.
fn check<T>(call: &'static str, result: Result<T, DriverError>) -> Result<T, CudaError> {
    result.map_err(|error| CudaError { call, code: error.0 as i64 })
}

/// A GPU, its primary context held for as long as this lives.
pub(super) struct Device {
    device: sys::CUdevice,
    context: sys::CUcontext,
    /// As `nvidia-smi` names it.
    pub(super) name: String,
    /// As `nvidia-smi -L` prints it: `GPU-…`.
    pub(super) uuid: String,
    /// Compute capability, major and minor.
    pub(super) capability: (i32, i32),
    /// The newest CUDA that the driver knows: 1000 · major + 10 · minor.
    pub(super) cuda_version: i32,
}

// SAFETY: CUDA's contexts may be used from any thread; this only carries the handles.
unsafe impl Send for Device {}
// SAFETY: as above.
unsafe impl Sync for Device {}

/// What a machine has, where none of it is the GPU that was asked for.
pub(super) type Others = Vec<String>;

impl Device {
    /// The GPU with this UUID (letters' case apart), or the first; `Ok(Err)` with those that are there where it is
    /// not. Its context is current on this thread afterwards. Only where [`tensorrt::Driver::initialise`] has worked.
    pub(super) fn open(uuid: Option<&str>) -> Result<Result<Arc<Device>, Others>, CudaError> {
        // SAFETY: looks for the driver's library, which the caller has seen; without it the calls below would panic.
        if !unsafe { sys::is_culib_present() } {
            return Ok(Err(Vec::new()));
        }
        check("cuInit", result::init())?;
        let mut others = Vec::new();
        for ordinal in 0..check("cuDeviceGetCount", result::device::get_count())? {
            let device = check("cuDeviceGet", result::device::get(ordinal))?;
            let found = text(&check("cuDeviceGetUuid", result::device::get_uuid(device))?);
            if uuid.is_none_or(|wanted| wanted.eq_ignore_ascii_case(&found)) {
                return Device::of(device, found).map(Ok);
            }
            others.push(found);
        }
        Ok(Err(others))
    }

    fn of(device: sys::CUdevice, uuid: String) -> Result<Arc<Device>, CudaError> {
        use sys::CUdevice_attribute as Attribute;
        // SAFETY: a device that cuDeviceGet gave.
        let attribute =
            |which: Attribute| unsafe { check("cuDeviceGetAttribute", result::device::get_attribute(device, which)) };
        let major = attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?;
        let minor = attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?;
        let mut cuda_version: c_int = 0;
        // SAFETY: writes one integer.
        check("cuDriverGetVersion", unsafe { sys::cuDriverGetVersion(&raw mut cuda_version).result() })?;
        let name = check("cuDeviceGetName", result::device::get_name(device))?;
        // SAFETY: a device that cuDeviceGet gave; released in Drop.
        let context = check("cuDevicePrimaryCtxRetain", unsafe { result::primary_ctx::retain(device) })?;
        let device = Arc::new(Device { device, context, name, uuid, capability: (major, minor), cuda_version });
        device.enter()?;
        Ok(device)
    }

    /// Makes the device current on this thread, which is one of the plugin's.
    pub(super) fn enter(&self) -> Result<(), CudaError> {
        // SAFETY: the context is held.
        check("cuCtxSetCurrent", unsafe { result::ctx::set_current(self.context) })
    }

    /// Bytes of its memory that are free now.
    pub(super) fn free_memory(&self) -> Result<u64, CudaError> {
        Ok(check("cuMemGetInfo", result::mem_get_info())?.0 as u64)
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        // SAFETY: retained once. An error has nobody to go to.
        let _ = unsafe { result::primary_ctx::release(self.device) };
    }
}

/// `GPU-` and sixteen bytes in the usual groups.
fn text(uuid: &sys::CUuuid) -> String {
    let mut text = String::from("GPU");
    for (at, byte) in uuid.bytes.iter().enumerate() {
        if [0, 4, 6, 8, 10].contains(&at) {
            text.push('-');
        }
        text.push_str(&format!("{:02x}", *byte as u8));
    }
    text
}

/// A stream of the lowest priority: a scanner's own work on the same GPU comes first.
pub(super) struct Stream {
    raw: sys::CUstream,
    device: Arc<Device>,
}

// SAFETY: CUDA's streams may be used from any thread.
unsafe impl Send for Stream {}
// SAFETY: as above.
unsafe impl Sync for Stream {}

impl Stream {
    pub(super) fn new(device: &Arc<Device>) -> Result<Arc<Stream>, CudaError> {
        let (least, _) = check("cuCtxGetStreamPriorityRange", result::stream::get_priority_range())?;
        let kind = result::stream::StreamKind::NonBlocking;
        let raw = check("cuStreamCreateWithPriority", result::stream::create_with_priority(kind, least))?;
        Ok(Arc::new(Stream { raw, device: device.clone() }))
    }

    /// As TensorRT takes it.
    pub(super) fn for_tensorrt(self: &Arc<Self>) -> tensorrt::Stream {
        // SAFETY: it stays a stream until this, its owner, is dropped.
        unsafe { tensorrt::Stream::from_raw(self.raw.cast(), self.clone()) }
    }

    fn wait(&self) -> Result<(), CudaError> {
        // SAFETY: a live stream.
        check("cuStreamSynchronize", unsafe { result::stream::synchronize(self.raw) })
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let _ = self.device.enter();
        // SAFETY: made here, destroyed once.
        let _ = unsafe { result::stream::destroy(self.raw) };
    }
}

/// Memory of the device.
struct DeviceBuffer {
    address: sys::CUdeviceptr,
    bytes: usize,
    device: Arc<Device>,
}

impl DeviceBuffer {
    fn new(device: &Arc<Device>, bytes: usize) -> Result<Arc<DeviceBuffer>, CudaError> {
        // SAFETY: freed in Drop; nothing reads it before it is written: inputs are copied, outputs computed.
        let address = check("cuMemAlloc", unsafe { result::malloc_sync(bytes.max(1)) })?;
        Ok(Arc::new(DeviceBuffer { address, bytes, device: device.clone() }))
    }

    /// As TensorRT takes it; None where the part is not within.
    fn part(self: &Arc<Self>, at: usize, bytes: usize) -> Option<tensorrt::DeviceMemory> {
        let end = at.checked_add(bytes)?;
        // SAFETY: these bytes are the device's to read and write until this, their owner, is dropped; cuMemFree waits
        // for work that uses them.
        (end <= self.bytes)
            .then(|| unsafe { tensorrt::DeviceMemory::from_raw(self.address + at as u64, bytes as u64, self.clone()) })
    }
}

impl Drop for DeviceBuffer {
    fn drop(&mut self) {
        let _ = self.device.enter();
        // SAFETY: allocated here, freed once.
        let _ = unsafe { result::free_sync(self.address) };
    }
}

/// Pinned memory of the host, which the device copies from or to by itself.
struct Pinned {
    place: *mut u8,
    bytes: usize,
    device: Arc<Device>,
}

impl Pinned {
    /// `flags`: `CU_MEMHOSTALLOC_*`. The memory is zeroed.
    fn new(device: &Arc<Device>, bytes: usize, flags: u32) -> Result<Pinned, CudaError> {
        let bytes = bytes.max(1);
        // SAFETY: freed in Drop.
        let place = check("cuMemHostAlloc", unsafe { result::malloc_host(bytes, flags) })?.cast::<u8>();
        // SAFETY: that many bytes were allocated, and nobody else has them.
        unsafe { place.write_bytes(0, bytes) };
        Ok(Pinned { place, bytes, device: device.clone() })
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        let _ = self.device.enter();
        // SAFETY: allocated here, freed once.
        let _ = unsafe { result::free_host(self.place.cast::<c_void>()) };
    }
}

/// Memory of somebody else's, which the device copies from by itself.
struct Registered {
    memory: TileMemory,
    device: Arc<Device>,
}

impl Registered {
    /// The memory is read-only here, which not every driver can register.
    fn new(device: &Arc<Device>, memory: &TileMemory) -> Result<Registered, CudaError> {
        let bytes: &[u8] = (**memory).as_ref();
        let place = bytes.as_ptr().cast_mut().cast::<c_void>();
        // SAFETY: these bytes stay where they are for as long as `memory` is held, which is until the end of the
        // registration. They are registered as what the device only reads.
        let done = unsafe { sys::cuMemHostRegister_v2(place, bytes.len(), sys::CU_MEMHOSTREGISTER_READ_ONLY) };
        check("cuMemHostRegister", done.result())?;
        Ok(Registered { memory: memory.clone(), device: device.clone() })
    }

    /// The tiles as one piece, if they lie in this memory as such, from its beginning.
    fn piece(&self, tiles: &[&[u8]]) -> Option<&[u8]> {
        let whole: &[u8] = (*self.memory).as_ref();
        let mut end = 0;
        for tile in tiles {
            if !std::ptr::eq(whole.get(end..)?.as_ptr(), tile.as_ptr()) {
                return None;
            }
            end += tile.len();
        }
        whole.get(..end)
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        let _ = self.device.enter();
        let place = (*self.memory).as_ref().as_ptr().cast_mut().cast::<c_void>();
        // SAFETY: registered here, once, and nothing on a stream reads it any more.
        let _ = unsafe { sys::cuMemHostUnregister(place) };
    }
}

/// Numbers that any four bytes are.
pub(super) trait Plain: Copy {}
impl Plain for f32 {}
impl Plain for i32 {}

/// One stream and the way to the device and back on it: a pinned upload buffer, the device's input and output, a pinned
/// read-back buffer. The upload buffer is write-combined: it is filled from end to end and never read, and passes the
/// processor's cache by.
pub(super) struct Transfers {
    stream: Arc<Stream>,
    /// Comes when everything before it on the stream is done. The thread sleeps meanwhile.
    done: sys::CUevent,
    upload: Pinned,
    /// Tiles that lie here need not be copied into the upload buffer.
    source: Option<Registered>,
    readback: Pinned,
    input: Arc<DeviceBuffer>,
    output: Arc<DeviceBuffer>,
    /// Work on the stream may use the buffers.
    busy: bool,
}

// SAFETY: owns its buffers and its event, which CUDA lets any thread use, one at a time.
unsafe impl Send for Transfers {}

impl Transfers {
    /// Buffers of these sizes. The device is current on this thread.
    pub(super) fn new(device: &Arc<Device>, input: usize, output: usize) -> Result<Transfers, CudaError> {
        let stream = Stream::new(device)?;
        let (upload, readback) =
            (Pinned::new(device, input, sys::CU_MEMHOSTALLOC_WRITECOMBINED)?, Pinned::new(device, output, 0)?);
        let (input, output) = (DeviceBuffer::new(device, input)?, DeviceBuffer::new(device, output)?);
        let flags = sys::CUevent_flags::CU_EVENT_BLOCKING_SYNC;
        // Last: what is made before it frees itself.
        let done = check("cuEventCreate", result::event::create(flags))?;
        Ok(Transfers { stream, done, upload, source: None, readback, input, output, busy: false })
    }

    pub(super) fn stream(&self) -> &Arc<Stream> {
        &self.stream
    }

    /// The device's input, for TensorRT.
    pub(super) fn input(&self) -> Option<tensorrt::DeviceMemory> {
        self.input.part(0, self.input.bytes)
    }

    /// A part of the device's output, for TensorRT.
    pub(super) fn output(&self, at: usize, bytes: usize) -> Option<tensorrt::DeviceMemory> {
        self.output.part(at, bytes)
    }

    /// Tiles may lie in this memory from now on. Whether the device can read them there.
    pub(super) fn read_from(&mut self, memory: &TileMemory) -> bool {
        self.forget_source();
        self.source = Registered::new(&self.stream.device, memory).ok();
        self.source.is_some()
    }

    /// Lets go of that memory.
    pub(super) fn forget_source(&mut self) {
        // The memory must outlive what was begun on it.
        let _ = self.wait();
        self.source = None;
    }

    /// Begins to copy tiles, one after the other, to the beginning of the device's input.
    pub(super) fn upload(&mut self, tiles: &[&[u8]]) -> Result<(), CudaError> {
        self.wait()?;
        let total = tiles.iter().map(|tile| tile.len()).sum::<usize>();
        assert!(total <= self.upload.bytes.min(self.input.bytes), "within the buffers");
        let source = match self.source.as_ref().and_then(|source| source.piece(tiles)) {
            Some(piece) => piece,
            None => {
                let mut at = 0;
                for tile in tiles {
                    // SAFETY: within the buffer, as their sum is; nothing on the stream uses it; a slice of the caller's
                    // does not overlap it.
                    unsafe { self.upload.place.add(at).copy_from_nonoverlapping(tile.as_ptr(), tile.len()) };
                    at += tile.len();
                }
                // SAFETY: the buffer has these bytes, all of them written.
                unsafe { std::slice::from_raw_parts(self.upload.place, total) }
            }
        };
        self.busy = true;
        // SAFETY: the input has room for them. The upload buffer is not touched before the stream has been waited for, and the
        // other memory is not written while a batch runs; both are held until then.
        let begun = unsafe { result::memcpy_htod_async(self.input.address, source, self.stream.raw) };
        check("cuMemcpyHtoDAsync", begun)
    }

    /// Begins to copy a part of the device's output to the same place of the read-back buffer.
    pub(super) fn download(&mut self, at: usize, bytes: usize) -> Result<(), CudaError> {
        assert!(at <= self.output.bytes && bytes <= self.output.bytes - at, "within the device's buffer");
        assert!(at <= self.readback.bytes && bytes <= self.readback.bytes - at, "within the read-back buffer");
        self.busy = true;
        // SAFETY: as in `upload`; nobody has a reference into the read-back buffer, since `self` is borrowed mutably.
        let begun = unsafe {
            let target = std::slice::from_raw_parts_mut(self.readback.place.add(at), bytes);
            result::memcpy_dtoh_async(target, self.output.address + at as u64, self.stream.raw)
        };
        check("cuMemcpyDtoHAsync", begun)
    }

    /// Work of others on the stream may use the device's buffers from now on.
    pub(super) fn lend(&mut self) {
        self.busy = true;
    }

    /// Waits for everything that was begun. What failed on the device shows here at the latest.
    pub(super) fn wait(&mut self) -> Result<(), CudaError> {
        if !self.busy {
            return Ok(());
        }
        // SAFETY: a live event and a live stream.
        let done = unsafe {
            check("cuEventRecord", result::event::record(self.done, self.stream.raw))
                .and_then(|()| check("cuEventSynchronize", result::event::synchronize(self.done)))
        };
        // After an error nothing runs on this stream any more, or nobody can know.
        self.busy = done.is_err();
        done
    }

    /// What came back: `count` numbers from byte `at` on, a multiple of [`ALIGNMENT`].
    pub(super) fn read<T: Plain>(&self, at: usize, count: usize) -> &[T] {
        assert!(!self.busy, "waited for");
        assert!(at.is_multiple_of(ALIGNMENT) && at <= self.readback.bytes, "an output's place");
        assert!(count <= (self.readback.bytes - at) / size_of::<T>(), "within the read-back buffer");
        // SAFETY: within the buffer, initialised, aligned (pinned memory begins on a page), of a type that any bytes
        // are; nothing on the stream writes it, and `download` needs `self` mutably.
        unsafe { std::slice::from_raw_parts(self.readback.place.add(at).cast::<T>(), count) }
    }

    /// Records the work that `body` puts on the stream instead of running it, after what was begun; None where the
    /// driver or `body` does not go along.
    pub(super) fn record(&mut self, body: impl FnOnce() -> bool) -> Option<Graph> {
        self.wait().ok()?;
        self.busy = true;
        let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        // SAFETY: a live stream; the capture is ended whatever `body` did, and the graph destroyed once it has been
        // instantiated.
        unsafe {
            result::stream::begin_capture(self.stream.raw, mode).ok()?;
            let went = body();
            let graph = result::stream::end_capture(self.stream.raw).ok().filter(|graph| !graph.is_null())?;
            let exec = result::graph::instantiate(graph, sys::CUgraphInstantiate_flags(0));
            let _ = result::graph::destroy(graph);
            let graph = Graph { exec: exec.ok()?, stream: self.stream.clone() };
            went.then_some(graph)
        }
    }
}

impl Drop for Transfers {
    fn drop(&mut self) {
        let _ = self.stream.device.enter();
        // The buffers must outlive what was begun on them.
        let _ = self.stream.wait();
        // SAFETY: made here, destroyed once.
        let _ = unsafe { result::event::destroy(self.done) };
    }
}

/// Recorded work, launched in one call.
pub(super) struct Graph {
    exec: sys::CUgraphExec,
    stream: Arc<Stream>,
}

// SAFETY: owns its handle, which CUDA lets any thread use, one at a time.
unsafe impl Send for Graph {}

impl Graph {
    /// Begins to run it on the stream that it was recorded from. Whoever owns the memory that it uses keeps that as
    /// long as this lives.
    pub(super) fn launch(&mut self) -> Result<(), CudaError> {
        // SAFETY: live handles.
        check("cuGraphLaunch", unsafe { result::graph::launch(self.exec, self.stream.raw) })
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        let _ = self.stream.device.enter();
        let _ = self.stream.wait();
        // SAFETY: instantiated here, destroyed once.
        let _ = unsafe { result::graph::exec_destroy(self.exec) };
    }
}
