//! Whether this machine has the memory to run a model. It is checked before hours of work go into the bundle, because the
//! operating system ends a process rather than refuse it memory.

use coverslip_bundle::Manifest;

/// Copies of the composed graph's float32 weights that are in memory at once: as composed, as loaded.
const COPIES: u64 = 2;

/// Refuses a model that does not fit. `stored`: bytes of its weights in the bundle.
///
/// # Errors
/// Says how much is needed and how much is there.
pub(super) fn check(manifest: &Manifest, stored: u64) -> Result<(), String> {
    let parameters = manifest.model_parameters() + manifest.sae_parameters();
    check_parameters(u64::try_from(parameters).unwrap_or(u64::MAX), stored)
}

/// Refuses a model with too many parameters. `stored`: bytes that are in memory beside them.
///
/// # Errors
/// As [`check`].
pub(super) fn check_parameters(parameters: u64, stored: u64) -> Result<(), String> {
    let needed = stored.saturating_add(parameters.saturating_mul(4 * COPIES));
    match available() {
        Some(available) if needed > available => Err(format!(
            "running this model takes about {:.1} GB of memory, {:.1} GB are free; expected a machine that can run it, \
             for the reference outputs: build the bundle there",
            needed as f64 / 1e9,
            available as f64 / 1e9
        )),
        _ => Ok(()),
    }
}

/// Memory that is free without swapping; None where the system does not say.
fn available() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}
