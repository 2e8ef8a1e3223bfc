//! What a host asks for: its structs, whose pointers are not looked at here, and what those pointers lead to.

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
}

pub(crate) struct SlideRequest<'d> {
    pub(crate) desc: &'d SlideDesc,
    pub(crate) scanner: &'d str,
    pub(crate) slide: &'d str,
    pub(crate) color_name: Option<&'d str>,
}
