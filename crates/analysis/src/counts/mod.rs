//! What features say about counts: correlations, how sure they are, and which of many are more than chance.
//!
//! Tiles of one image or slide resemble each other, so nothing here treats them as independent: intervals come from
//! resampling whole groups, tests from permuting whole groups, and what was chosen on some groups is reported on others.
//! Rows of a matrix are tiles; columns of `x` are features, columns of `y` are counts.

mod bootstrap;
mod correlation;
mod groups;
mod held_out;
mod max_t;
mod replication;
mod ridge;

pub use bootstrap::{Interval, PairSums, Resamples, bca, spearman_interval};
pub use correlation::{correlations, spearman};
pub use groups::Groups;
pub use held_out::{HeldOut, Line, best_feature, score};
pub use max_t::{MaxT, max_t};
pub use replication::{Halves, LEAST_GROUPS, Trial};
pub use ridge::{ridge, ridge_elsewhere};
