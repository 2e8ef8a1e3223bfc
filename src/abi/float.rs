//! The floating-point mode of the plugin's own threads. A new thread inherits its creator's: a host that flushes
//! denormals or rounds upward would change results.

/// Sets this thread to the mode in which every thread of a fresh process runs: round to nearest, denormals kept, no
/// traps.
#[cfg(target_arch = "x86_64")]
pub(crate) fn reset_mode() {
    const DEFAULT_MXCSR: u32 = 0x1f80;
    // SAFETY: loads this thread's own control register with its architectural default.
    unsafe { std::arch::asm!("ldmxcsr [{}]", in(reg) &DEFAULT_MXCSR, options(nostack, readonly, preserves_flags)) };
}

/// As above.
#[cfg(target_arch = "aarch64")]
pub(crate) fn reset_mode() {
    // SAFETY: as above.
    unsafe { std::arch::asm!("msr fpcr, xzr", options(nomem, nostack, preserves_flags)) };
}

/// Elsewhere the mode stays as it is inherited.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
pub(crate) fn reset_mode() {}
