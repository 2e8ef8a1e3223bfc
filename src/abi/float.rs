//! The floating-point mode. A host may round upward or flush denormals on its threads; what this library computes must
//! not depend on it, on the host's thread or on the threads that are started there, which inherit it.

use std::cell::Cell;

thread_local! {
    /// The mode that the host has set on this thread, while it is set aside.
    static HOST: Cell<Option<Mode>> = const { Cell::new(None) };
}

/// The host's mode, set aside while the library computes and restored when this is dropped, sticky flags and all.
pub(super) struct HostMode(());

impl HostMode {
    /// Sets this thread to the mode of a fresh process: round to nearest, denormals kept, no traps.
    pub(super) fn set_aside() -> HostMode {
        HOST.set(Some(read()));
        write(DEFAULT);
        HostMode(())
    }
}

impl Drop for HostMode {
    fn drop(&mut self) {
        HOST.take().into_iter().for_each(write);
    }
}

/// Calls a function of the host's in its own mode, and keeps what it makes of that.
pub(super) fn in_host_mode<R>(call: impl FnOnce() -> R) -> R {
    let Some(host) = HOST.get() else { return call() };
    write(host);
    let value = call();
    HOST.set(Some(read()));
    write(DEFAULT);
    value
}

#[cfg(target_arch = "x86_64")]
use x86::{DEFAULT, Mode, read, write};
#[cfg(target_arch = "x86_64")]
mod x86 {
    pub(super) type Mode = u32;
    /// MXCSR after a reset.
    pub(super) const DEFAULT: Mode = 0x1f80;

    pub(super) fn read() -> Mode {
        let mut mode = 0u32;
        // SAFETY: stores this thread's control register into a local.
        unsafe { std::arch::asm!("stmxcsr [{}]", in(reg) &raw mut mode, options(nostack, preserves_flags)) };
        mode
    }

    pub(super) fn write(mode: Mode) {
        // SAFETY: loads a value that `read` gave or the architectural default: no reserved bit is set.
        unsafe {
            std::arch::asm!("ldmxcsr [{}]", in(reg) &raw const mode, options(nostack, readonly, preserves_flags))
        };
    }
}

#[cfg(target_arch = "aarch64")]
use arm::{DEFAULT, Mode, read, write};
#[cfg(target_arch = "aarch64")]
mod arm {
    pub(super) type Mode = u64;
    /// FPCR after a reset.
    pub(super) const DEFAULT: Mode = 0;

    pub(super) fn read() -> Mode {
        let mode: u64;
        // SAFETY: reads this thread's control register.
        unsafe { std::arch::asm!("mrs {}, fpcr", out(reg) mode, options(nomem, nostack, preserves_flags)) };
        mode
    }

    pub(super) fn write(mode: Mode) {
        // SAFETY: writes a value that `read` gave or the architectural default.
        unsafe { std::arch::asm!("msr fpcr, {}", in(reg) mode, options(nomem, nostack, preserves_flags)) };
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
use other::{DEFAULT, Mode, read, write};
/// Elsewhere the mode stays as it is.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
mod other {
    pub(super) type Mode = ();
    pub(super) const DEFAULT: Mode = ();
    pub(super) fn read() {}
    pub(super) fn write(_: ()) {}
}
