//! Whether this machine can run a model, asked before hours of work go into it: the operating system would
//! rather end the process than say no.

use coverslip_bundle::Manifest;

/// Bytes of the composed graph's float32 weights that are in memory at once: as composed, as loaded.
const COPIES: u64 = 2;

/// Refuses a model that would not fit. `stored` are the bytes of its weights as the bundle has them.
///
/// # Errors
/// Says how much is needed and how much is there.
pub(super) fn check(manifest: &Manifest, stored: u64) -> Result<(), String> {
    let parameters = manifest.model_parameters() + manifest.sae_parameters();
    check_parameters(u64::try_from(parameters).unwrap_or(u64::MAX), stored)
}

/// Refuses a model of so many parameters; `stored` bytes are in memory beside them.
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

/// Memory that can be had without swapping, where the system tells.
fn available() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}
