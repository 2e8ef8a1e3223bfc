//! How much of a task is done.

/// `[############..................]  40 %`
pub(crate) fn bar(fraction: f64) -> String {
    const CELLS: usize = 30;
    let fraction = fraction.clamp(0.0, 1.0);
    let full = (fraction * CELLS as f64).round() as usize;
    format!("[{}{}] {:3.0} %", "#".repeat(full), ".".repeat(CELLS - full), 100.0 * fraction)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_is_as_wide_whatever_the_fraction() {
        assert_eq!(bar(0.0), format!("[{}]   0 %", ".".repeat(30)));
        assert_eq!(bar(0.5), format!("[{}{}]  50 %", "#".repeat(15), ".".repeat(15)));
        assert_eq!(bar(1.0), format!("[{}] 100 %", "#".repeat(30)));
        assert_eq!(bar(1.7), bar(1.0));
    }
}
