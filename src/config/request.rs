//! What a host asks for: its structs, whose pointers are not looked at here, and what those pointers lead to.

use std::path::PathBuf;

use coverslip_plugin_abi::{RuntimeDesc, SlideDesc};

pub(crate) struct RuntimeRequest<'d> {
    pub(crate) desc: &'d RuntimeDesc,
    pub(crate) bundle: &'d str,
    pub(crate) bundle_digest: Option<[u8; 32]>,
    pub(crate) profile: Option<&'d str>,
    pub(crate) profile_digest: Option<[u8; 32]>,
    pub(crate) tensorrt_library: Option<&'d str>,
    pub(crate) plans: Option<&'d str>,
    pub(crate) plan_digest: Option<[u8; 32]>,
    pub(crate) gpu_uuid: Option<&'d str>,
    pub(crate) cpu_tuning: Option<&'d str>,
    pub(crate) cpus: Vec<u32>,
    /// As the host wrote them.
    pub(crate) trusted_keys: Vec<&'d str>,
    pub(crate) worker: Option<&'d str>,
    /// The library's folder, if it is known.
    pub(crate) folder: Option<PathBuf>,
    /// The minor version of the contract that the host speaks.
    pub(crate) host_minor: u32,
}

pub(crate) struct SlideRequest<'d> {
    pub(crate) desc: &'d SlideDesc,
    pub(crate) scanner: &'d str,
    pub(crate) slide: &'d str,
    pub(crate) color_name: Option<&'d str>,
    /// The curve's 8-bit channels; empty: none.
    pub(crate) tone_table: &'d [u8],
}
