//! The one exported symbol.

use coverslip_plugin_abi as abi;
use coverslip_plugin_abi::{ABI_MAJOR, ABI_MINOR, Api, Error, HostInfo};

use super::structs::read_struct;
use super::text::read_text;
use super::{guard, library, log, table};
use coverslip_base::error::{Result, error};

/// See `coverslip_get_api` in coverslip.h.
///
/// # Safety
/// `host` and `error` are null or point to structs whose `struct_size` says how many bytes of them may be touched;
/// `api` is null or points to a pointer that may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coverslip_get_api(host: *const HostInfo, api: *mut *const Api, error: *mut Error) -> i32 {
    guard::fenced(error, || {
        guard::silence_panics();
        // SAFETY: the caller's promise about `host`.
        let info: HostInfo = unsafe { read_struct(host, "coverslip_host_info") }?;
        if api.is_null() || !api.is_aligned() {
            return Err(error!(
                INVALID_ARGUMENT,
                "expected a place for the function table, found a NULL or unaligned pointer in `api`"
            ));
        }
        expect_version(&info)?;
        // SAFETY: name is null or a NUL-terminated string, by the contract.
        unsafe { read_text(info.name, "host_info.name") }?;
        log::set_host(info.log, info.log_user);
        library::set_host_minor(info.abi_minor);
        #[cfg(windows)]
        library::stay();
        // SAFETY: `api` is not null and the caller promises that it may be written.
        unsafe { api.write(&table::TABLE) };
        Ok(())
    })
}

fn expect_version(info: &HostInfo) -> Result<()> {
    // A host that needs more than it was compiled for is none either.
    if info.abi_major == ABI_MAJOR && info.abi_minor_min <= ABI_MINOR.min(info.abi_minor) {
        return Ok(());
    }
    Err(error!(
        ABI_MISMATCH,
        "the host speaks version {}.{} (at least {}.{}) of the contract, this library {}.{} ({}): install a library of \
         the host's major version and of at least its minor version",
        info.abi_major,
        info.abi_minor,
        info.abi_major,
        info.abi_minor_min,
        abi::ABI_MAJOR,
        abi::ABI_MINOR,
        env!("CARGO_PKG_VERSION"),
    ))
}
