//! `coverslip_runtime_desc`, checked, with every default filled in.

use std::path::PathBuf;
use std::time::Duration;

use coverslip_bundle::signature::{PublicKey, Trust};
use coverslip_plugin_abi as abi;

use super::kernels;
use super::range::{in_range, or_default};
use super::request::RuntimeRequest;
use crate::engine::isolation::{Isolation, PROGRAM};
use crate::pipeline::queues::MAX_WORKERS;
use coverslip_base::error::{Result, error};
use coverslip_base::thread::Placement;
use coverslip_engine::config::{EngineConfig, GpuConfig};

const MAX_SLIDES: u32 = 64;
const DEFAULT_SLIDES: u32 = 4;
const DEFAULT_MEMORY: u64 = 4 << 30;
/// Tiles per batch on a GPU.
const MAX_BATCH: u32 = 256;
/// Logical processors are numbered below this.
const MAX_CPUS: u32 = 1024;
const MAX_KEYS: u32 = 64;
/// The minor version of the contract whose hosts know of workers.
const KNOWN_SINCE: u32 = 1;

#[derive(Clone, Debug)]
pub(crate) struct RuntimeConfig {
    pub(crate) bundle: PathBuf,
    pub(crate) bundle_digest: Option<[u8; 32]>,
    pub(crate) profile: Option<ProfileConfig>,
    /// Who may have made bundle and profile.
    pub(crate) trust: Trust,
    pub(crate) engine: EngineConfig,
    pub(crate) isolation: Isolation,
    pub(crate) max_slides: usize,
    pub(crate) memory_limit: u64,
}

/// The profile that the host asks for.
#[derive(Clone, Debug)]
pub(crate) struct ProfileConfig {
    /// Its folder.
    pub(crate) path: PathBuf,
    /// What the host expects it to be.
    pub(crate) digest: Option<[u8; 32]>,
}

/// How many entries `cpus` may have; to be asked before they are read.
pub(crate) fn expect_cpu_count(count: u32) -> Result<()> {
    in_range("runtime_desc.cpu_count", count, 0..=MAX_CPUS)
}

/// How many entries `trusted_keys` may have; to be asked before they are read.
pub(crate) fn expect_key_count(desc: &abi::RuntimeDesc) -> Result<()> {
    match desc.trusted_keys.is_null() {
        true => in_range("runtime_desc.trusted_key_count without trusted_keys", desc.trusted_key_count, 0..=0),
        // A list that came out empty by mistake must not pass for no list.
        false => in_range("runtime_desc.trusted_key_count", desc.trusted_key_count, 1..=MAX_KEYS),
    }
}

impl RuntimeConfig {
    pub(crate) fn new(request: RuntimeRequest<'_>) -> Result<RuntimeConfig> {
        let desc = request.desc;
        in_range("runtime_desc.engine", desc.engine, abi::ENGINE_AUTO..=abi::ENGINE_TENSORRT)?;
        in_range("runtime_desc.fallback", desc.fallback, abi::FALLBACK_AT_OPEN..=abi::FALLBACK_ON_CPU)?;
        in_range("runtime_desc.max_threads", desc.max_threads, 0..=MAX_WORKERS as u32)?;
        in_range("runtime_desc.max_slides", desc.max_slides, 0..=MAX_SLIDES)?;
        in_range("runtime_desc.precision", desc.precision, abi::PRECISION_DEFAULT..=abi::PRECISION_BFLOAT16)?;
        in_range("runtime_desc.max_batch", desc.max_batch, 0..=MAX_BATCH)?;
        in_range("runtime_desc.reserved", desc.reserved, 0..=0)?;
        let known = abi::RUNTIME_ALLOW_LIBRARY_SEARCH
            | abi::RUNTIME_PREBUILT_ONLY
            | abi::RUNTIME_NORMAL_PRIORITY
            | abi::RUNTIME_REQUIRE_SIGNATURE;
        in_range("unknown bits of runtime_desc.flags", desc.flags & !known, 0..=0)?;
        let precisions = abi::CPU_PRECISION_FLOAT32..=abi::CPU_PRECISION_INT8;
        in_range("runtime_desc.cpu_precision", desc.cpu_precision, precisions)?;
        for &cpu in &request.cpus {
            in_range("an entry of runtime_desc.cpus", cpu, 0..=MAX_CPUS - 1)?;
        }
        Ok(RuntimeConfig {
            bundle: PathBuf::from(request.bundle),
            bundle_digest: request.bundle_digest,
            profile: profile(&request)?,
            trust: trust(&request)?,
            isolation: isolation(&request)?,
            engine: EngineConfig {
                kind: desc.engine,
                fallback: desc.fallback,
                cpu_lanes: lanes(desc.max_threads, request.cpus.len()),
                cpu_precision: desc.cpu_precision,
                cpu_kernels: kernels::chosen(desc.cpu_precision, request.cpu_tuning)?,
                cpu_tuned: request.cpu_tuning.is_some(),
                gpu: gpu(&request)?,
                placement: Placement {
                    cpus: request.cpus,
                    normal_priority: desc.flags & abi::RUNTIME_NORMAL_PRIORITY != 0,
                },
            },
            max_slides: or_default(desc.max_slides, DEFAULT_SLIDES) as usize,
            memory_limit: or_default(desc.memory_limit, DEFAULT_MEMORY),
        })
    }
}

fn profile(request: &RuntimeRequest<'_>) -> Result<Option<ProfileConfig>> {
    match (request.profile, request.profile_digest) {
        (Some(path), digest) => Ok(Some(ProfileConfig { path: PathBuf::from(path), digest })),
        (None, None) => Ok(None),
        (None, Some(_)) => Err(error!(
            INVALID_ARGUMENT,
            "a profile's digest is expected, but runtime_desc.profile_path is NULL: name the profile's folder"
        )),
    }
}

fn trust(request: &RuntimeRequest<'_>) -> Result<Trust> {
    let required = request.desc.flags & abi::RUNTIME_REQUIRE_SIGNATURE != 0;
    if required && request.trusted_keys.is_empty() {
        return Err(error!(
            INVALID_ARGUMENT,
            "COVERSLIP_RUNTIME_REQUIRE_SIGNATURE is set, but runtime_desc.trusted_keys is NULL, so that nothing could \
             be opened: name the keys"
        ));
    }
    let parse = |(place, text): (usize, &&str)| {
        PublicKey::parse(text).map_err(|e| error!(INVALID_ARGUMENT, "runtime_desc.trusted_keys[{place}]: {e}"))
    };
    let keys = request.trusted_keys.iter().enumerate().map(parse).collect::<Result<_>>()?;
    Ok(Trust { keys, required })
}

fn isolation(request: &RuntimeRequest<'_>) -> Result<Isolation> {
    let desc = request.desc;
    in_range("runtime_desc.isolation", desc.isolation, abi::ISOLATION_AUTO..=abi::ISOLATION_ALWAYS)?;
    let named = request.worker.map(PathBuf::from);
    if let Some(relative) = named.as_ref().filter(|path| !path.is_absolute()) {
        return Err(error!(
            INVALID_ARGUMENT,
            "expected an absolute path in runtime_desc.worker_path, found {}: name the program from the root on",
            relative.display()
        ));
    }
    let timeout = match desc.worker_timeout_ms {
        abi::NO_TIMEOUT => None,
        0 => Isolation::DEFAULT_TIMEOUT,
        asked => Some(Duration::from_millis(asked.into())),
    };
    Ok(Isolation {
        mode: desc.isolation,
        named,
        beside: request.folder.as_ref().map(|folder| folder.join(PROGRAM)),
        timeout,
        known: request.host_minor >= KNOWN_SINCE,
    })
}

fn gpu(request: &RuntimeRequest<'_>) -> Result<GpuConfig> {
    let desc = request.desc;
    let library = request.tensorrt_library.map(PathBuf::from);
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
        uuid: request.gpu_uuid.map(str::to_owned),
        plans: request.plans.map(PathBuf::from),
        plan_digest: request.plan_digest,
        prebuilt_only: desc.flags & abi::RUNTIME_PREBUILT_ONLY != 0,
        precision: desc.precision,
        max_batch: desc.max_batch,
        memory_limit: desc.gpu_memory_limit,
        private_plans: desc.flags & abi::RUNTIME_REQUIRE_SIGNATURE != 0,
    })
}

/// One lane per allowed processor, unless the host wants fewer (or more).
fn lanes(max_threads: u32, cpus: usize) -> usize {
    match (max_threads, cpus) {
        (0, 0) => std::thread::available_parallelism().map_or(1, |n| n.get()).min(MAX_WORKERS),
        (0, cpus) => cpus.min(MAX_WORKERS),
        (lanes, _) => lanes as usize,
    }
}
