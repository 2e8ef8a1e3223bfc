//! How many scanners and kinds of tissue are told apart.

use coverslip_analysis::Categories;

use super::Failure;

/// Most scanners, and most kinds. Probes, retrieval and clusters cost as much as there are of them or of pairs of them; a name
/// for each slide or tile is a mistake in the column, and would take minutes to end in numbers that say nothing.
const MOST: usize = 128;

/// Refuses a column that tells too many apart. `what` they are, in the plural.
///
/// # Errors
/// Names the column, and how many it has.
pub(super) fn check_few(column: &str, what: &str, found: &Categories) -> Result<(), Failure> {
    if found.kinds() <= MOST {
        return Ok(());
    }
    Err(format!(
        "column {column}: expected at most {MOST} {what}, found {}; give the column that names the {what}, or tiles of fewer",
        found.kinds()
    )
    .into())
}
