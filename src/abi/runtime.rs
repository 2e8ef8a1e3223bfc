//! `coverslip_runtime_desc` and `coverslip_progress`.

use std::ffi::{c_char, c_void};
use std::sync::Arc;

use coverslip_plugin_abi::{AbiStruct, Progress, ProgressFn, RuntimeDesc};

use super::float::in_host_mode;
use super::structs::{read_array, read_struct};
use super::text::{read_digest, read_text, require_text};
use super::{library, log};
use crate::config::request::RuntimeRequest;
use crate::config::runtime::{RuntimeConfig, expect_cpu_count, expect_key_count};
use crate::runtime::Runtime;
use coverslip_base::error::{Result, error};

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
    let desc = unsafe { read_struct(desc, "coverslip_runtime_desc") }?;
    // SAFETY: as above.
    let config = RuntimeConfig::new(unsafe { request(&desc) }?)?;
    let mut report = |stage: i32, fraction: f64| {
        let Some(progress) = progress else { return Ok(()) };
        let state = Progress { stage, fraction, ..Progress::init() };
        // SAFETY: the host gave this callback for this call.
        match in_host_mode(|| unsafe { progress(user, &state) }) {
            0 => Ok(()),
            _ => Err(error!(CANCELLED, "the progress callback asked to stop")),
        }
    };
    Runtime::open(config, Arc::new(log::of_host()), &mut report).map(Arc::new)
}

/// # Safety
/// As [`open`].
unsafe fn request(desc: &RuntimeDesc) -> Result<RuntimeRequest<'_>> {
    expect_cpu_count(desc.cpu_count)?;
    expect_key_count(desc)?;
    // SAFETY: by the contract strings are null or NUL-terminated, digests are null or 32 bytes, and cpus and trusted_keys
    // are null or have as many entries as their counts say.
    unsafe {
        Ok(RuntimeRequest {
            desc,
            bundle: require_text(desc.bundle_path, "runtime_desc.bundle_path")?,
            bundle_digest: read_digest(desc.bundle_digest),
            profile: read_text(desc.profile_path, "runtime_desc.profile_path")?,
            profile_digest: read_digest(desc.profile_digest),
            tensorrt_library: read_text(desc.tensorrt_library, "runtime_desc.tensorrt_library")?,
            plans: read_text(desc.plan_cache_path, "runtime_desc.plan_cache_path")?,
            plan_digest: read_digest(desc.plan_digest),
            gpu_uuid: read_text(desc.gpu_uuid, "runtime_desc.gpu_uuid")?,
            cpu_tuning: read_text(desc.cpu_tuning_path, "runtime_desc.cpu_tuning_path")?,
            cpus: read_array(desc.cpus, desc.cpu_count, "runtime_desc.cpus, as cpu_count says")?,
            trusted_keys: read_texts(desc.trusted_keys, desc.trusted_key_count, "runtime_desc.trusted_keys")?,
            worker: read_text(desc.worker_path, "runtime_desc.worker_path")?,
            folder: library::folder(),
            host_minor: library::host_minor(),
        })
    }
}

/// Reads texts that must all be there; none where the host gave no array.
///
/// # Safety
/// `texts` is null or has `count` entries, each null or NUL-terminated, and these stay for `'h`.
unsafe fn read_texts<'h>(texts: *const *const c_char, count: u32, name: &str) -> Result<Vec<&'h str>> {
    // SAFETY: the caller's promise.
    let texts = unsafe { read_array(texts, count, name) }?;
    // SAFETY: as above.
    let read = |(place, &text): (usize, &*const c_char)| unsafe { require_text(text, &format!("{name}[{place}]")) };
    texts.iter().enumerate().map(read).collect()
}
