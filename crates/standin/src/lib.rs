//! A library of the same one symbol as Coverslip that passes every call on to the real one and checks how the host keeps
//! the contract. `coverslip validate host` puts it in the real one's place and hears what it reports.
//!
//! A host that breaks a rule is told, not stopped: what the real library answers is what the host gets.

#![cfg(target_os = "linux")]

mod calls;
mod guarded;
mod maps;
mod real;
mod report;
mod rules;
mod state;

use std::ffi::c_void;

use coverslip_plugin_abi as abi;

/// As in the header.
///
/// # Safety
/// As the contract says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coverslip_get_api(
    host: *const abi::HostInfo,
    api: *mut *const abi::Api,
    error: *mut abi::Error,
) -> i32 {
    let Some(get_api) = real::get_api() else { return abi::INTERNAL };
    state::begin_call("coverslip_get_api", false);
    // SAFETY: the host's pointers, by the contract; what is changed is a copy.
    let code = unsafe {
        match host.as_ref() {
            Some(known) if known.struct_size as usize == size_of::<abi::HostInfo>() => {
                let mut info = *known;
                info.log_user = calls::wrap_log(info.log, info.log_user).cast::<c_void>();
                info.log = info.log.map(|_| calls::log as abi::LogFn);
                get_api(&info, api, error)
            }
            _ => get_api(host, api, error),
        }
    };
    // SAFETY: as above.
    unsafe { calls::heard("coverslip_get_api", code, error) };
    if code == abi::OK {
        // SAFETY: on OK the library has written its table, which lives as long as the process.
        let table = unsafe { &**api };
        real::remember(table);
        // SAFETY: the host's place for a pointer, into which the library has written.
        unsafe { *api = calls::table(table) };
    }
    code
}
