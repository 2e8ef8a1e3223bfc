//! `coverslip_runtime_desc` → [`RuntimeConfig`], and the opening itself.

use std::ffi::c_void;
use std::path::PathBuf;
use std::sync::Arc;

use coverslip_plugin_abi as abi;
use coverslip_plugin_abi::{AbiStruct, Progress, ProgressFn, RuntimeDesc};

use super::marshal::{read_digest, read_struct, read_text, require_text};
use super::range::{in_range, or_default};
use super::{log, unsupported};
use crate::engine::config::{EngineConfig, GpuConfig};
use crate::error::{Result, error};
use crate::runtime::{ProfileConfig, Runtime, RuntimeConfig};
use crate::thread::Placement;

const MAX_LANES: u32 = 256;
const MAX_SLIDES: u32 = 64;
const DEFAULT_SLIDES: u32 = 4;
const DEFAULT_MEMORY: u64 = 4 << 30;
/// Tiles per batch on a GPU.
const MAX_BATCH: u32 = 256;
/// Logical processors are numbered below this.
const MAX_CPUS: u32 = 1024;

/// Opens what `desc` describes.
///
/// # Safety
/// `desc` and what it points to are as the contract says; `progress` is called with `user` on this thread.
pub(super) unsafe fn open(
    desc: *const RuntimeDesc,
    progress: Option<ProgressFn>,
    user: *mut c_void,
) -> Result<Arc<Runtime>> {
    // SAFETY: the caller's promise.
    let config = unsafe { read_config(desc) }?;
    let mut report = |stage: i32, fraction: f64| {
        let Some(progress) = progress else { return Ok(()) };
        let state = Progress { stage, fraction, ..Progress::init() };
        // SAFETY: the host gave this callback for this call.
        match unsafe { progress(user, &state) } {
            0 => Ok(()),
            _ => Err(error!(CANCELLED, "the progress callback asked to stop")),
        }
    };
    Runtime::open(config, Arc::new(log::of_host()), &mut report).map(Arc::new)
}

/// # Safety
/// As [`open`].
unsafe fn read_config(desc: *const RuntimeDesc) -> Result<RuntimeConfig> {
    // SAFETY: the caller's promise.
    let desc = unsafe { read_struct(desc, "coverslip_runtime_desc") }?;
    // SAFETY: strings are null or NUL-terminated, digests null or 32 bytes, by the contract.
    let (bundle, profile) =
        unsafe { (require_text(desc.bundle_path, "runtime_desc.bundle_path")?, read_profile(&desc)?) };
    in_range("runtime_desc.engine", desc.engine, abi::ENGINE_AUTO..=abi::ENGINE_TENSORRT)?;
    in_range("runtime_desc.fallback", desc.fallback, abi::FALLBACK_AT_OPEN..=abi::FALLBACK_ON_CPU)?;
    in_range("runtime_desc.max_threads", desc.max_threads, 0..=MAX_LANES)?;
    in_range("runtime_desc.max_slides", desc.max_slides, 0..=MAX_SLIDES)?;
    in_range("runtime_desc.reserved", desc.reserved, 0..=0)?;
    let known = abi::RUNTIME_ALLOW_LIBRARY_SEARCH
        | abi::RUNTIME_PREBUILT_ONLY
        | abi::RUNTIME_NORMAL_PRIORITY
        | abi::RUNTIME_REQUIRE_SIGNATURE;
    in_range("unknown bits of runtime_desc.flags", desc.flags & !known, 0..=0)?;
    unsupported::in_runtime_desc(&desc)?;
    // SAFETY: cpus is null or has cpu_count entries, by the contract.
    let cpus = unsafe { read_cpus(&desc) }?;
    Ok(RuntimeConfig {
        bundle: PathBuf::from(bundle),
        // SAFETY: null or 32 bytes, by the contract.
        bundle_digest: unsafe { read_digest(desc.bundle_digest) },
        profile,
        engine: EngineConfig {
            kind: desc.engine,
            fallback: desc.fallback,
            cpu_lanes: lanes(desc.max_threads, cpus.len()),
            placement: Placement { cpus, normal_priority: desc.flags & abi::RUNTIME_NORMAL_PRIORITY != 0 },
            // SAFETY: as above.
            gpu: unsafe { read_gpu(&desc) }?,
        },
        max_slides: or_default(desc.max_slides, DEFAULT_SLIDES) as usize,
        memory_limit: if desc.memory_limit == 0 { DEFAULT_MEMORY } else { desc.memory_limit },
    })
}

/// The profile's folder and the digest that the host expects of it.
///
/// # Safety
/// As [`open`].
unsafe fn read_profile(desc: &RuntimeDesc) -> Result<Option<ProfileConfig>> {
    // SAFETY: null or NUL-terminated, null or 32 bytes, by the contract.
    let (path, digest) =
        unsafe { (read_text(desc.profile_path, "runtime_desc.profile_path")?, read_digest(desc.profile_digest)) };
    match (path, digest) {
        (Some(path), digest) => Ok(Some(ProfileConfig { path: PathBuf::from(path), digest })),
        (None, None) => Ok(None),
        (None, Some(_)) => Err(error!(
            INVALID_ARGUMENT,
            "a profile's digest is expected, but runtime_desc.profile_path is NULL: name the profile's folder"
        )),
    }
}

/// What concerns the GPU alone.
///
/// # Safety
/// As [`open`].
unsafe fn read_gpu(desc: &RuntimeDesc) -> Result<GpuConfig> {
    in_range("runtime_desc.precision", desc.precision, abi::PRECISION_DEFAULT..=abi::PRECISION_BFLOAT16)?;
    in_range("runtime_desc.max_batch", desc.max_batch, 0..=MAX_BATCH)?;
    // SAFETY: strings are null or NUL-terminated, digests null or 32 bytes, by the contract.
    let (library, plans, uuid, plan_digest) = unsafe {
        (
            read_text(desc.tensorrt_library, "runtime_desc.tensorrt_library")?,
            read_text(desc.plan_cache_path, "runtime_desc.plan_cache_path")?,
            read_text(desc.gpu_uuid, "runtime_desc.gpu_uuid")?,
            read_digest(desc.plan_digest),
        )
    };
    let library = library.map(PathBuf::from);
    if let Some(relative) = library.as_ref().filter(|path| !path.is_absolute()) {
        return Err(error!(
            INVALID_ARGUMENT,
            "expected an absolute path in runtime_desc.tensorrt_library, found {}: name the file from the root on",
            relative.display()
        ));
    }
    Ok(GpuConfig {
        library,
        search: desc.flags & abi::RUNTIME_ALLOW_LIBRARY_SEARCH != 0,
        uuid,
        plans: plans.map(PathBuf::from),
        plan_digest,
        prebuilt_only: desc.flags & abi::RUNTIME_PREBUILT_ONLY != 0,
        precision: desc.precision,
        max_batch: desc.max_batch,
        memory_limit: desc.gpu_memory_limit,
    })
}

/// # Safety
/// `desc.cpus` is null or has `desc.cpu_count` entries.
unsafe fn read_cpus(desc: &RuntimeDesc) -> Result<Vec<u32>> {
    in_range("runtime_desc.cpu_count", desc.cpu_count, 0..=MAX_CPUS)?;
    if desc.cpus.is_null() || desc.cpu_count == 0 {
        in_range("runtime_desc.cpu_count without cpus", desc.cpu_count, 0..=0)?;
        return Ok(Vec::new());
    }
    if !desc.cpus.is_aligned() {
        return Err(error!(INVALID_ARGUMENT, "expected runtime_desc.cpus aligned as an array of uint32_t"));
    }
    // SAFETY: the caller's promise.
    let cpus = unsafe { std::slice::from_raw_parts(desc.cpus, desc.cpu_count as usize) }.to_vec();
    for &cpu in &cpus {
        in_range("an entry of runtime_desc.cpus", cpu, 0..=MAX_CPUS - 1)?;
    }
    Ok(cpus)
}

/// One lane per allowed processor, unless the host wants fewer (or more).
fn lanes(max_threads: u32, cpus: usize) -> usize {
    match (max_threads, cpus) {
        (0, 0) => std::thread::available_parallelism().map_or(1, |n| n.get()).min(MAX_LANES as usize),
        (0, cpus) => cpus.min(MAX_LANES as usize),
        (lanes, _) => lanes as usize,
    }
}
