//! `coverslip bundle label`.

use std::error::Error;
use std::io::Write;
use std::path::PathBuf;

use crate::bundle::{self, LabelRequest};
use crate::cli::wrong_option::WrongOption;
use crate::findings::counts::ALPHA;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The bundle's directory
    bundle: PathBuf,
    /// The result of `coverslip analyze counts --bundle`: features get the cell types that they follow on groups that had no
    /// part in choosing them
    #[arg(long, value_name = "COUNTS.JSON")]
    counts: Option<PathBuf>,
    /// With --counts: labels that replicate with an adjusted p of at most this
    #[arg(long, value_name = "P", default_value_t = ALPHA)]
    p: f64,
    /// Labels of your own, which override those of --counts: [{"index": 3, "label": "lymphocytes", "evidence": "…",
    /// "cell_type": "…", "correlation": 0.5, "tiles": 200, "dataset": "…", "tested": {"partial_correlation": 0.4,
    /// "p_value": 0.01, "groups": 24}}]; all but index and label may be left out
    #[arg(long, value_name = "JSON")]
    labels: Option<PathBuf>,
    /// The directory of the labelled bundle
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Replace the bundle that is there
    #[arg(long)]
    force: bool,
}

/// Labels a copy of the bundle, and says to `out` how many features have a label.
///
/// # Errors
/// When there is nothing to label, the counts are of another SAE, or a bundle cannot be read or written.
pub fn run(args: Args, mut out: &mut dyn Write) -> Result<(), Box<dyn Error>> {
    let Args { bundle, counts, p, labels, out: to, force } = args;
    if !(0.0..=1.0).contains(&p) {
        return Err(WrongOption(format!("--p: expected a level from 0 to 1, found {p}")).into());
    }
    bundle::label(&LabelRequest { bundle, counts, p, labels, out: to, force }, &mut out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_that_is_none_is_refused_before_anything_is_read() {
        for p in [f64::NAN, -0.1, 1.5] {
            let none = PathBuf::from("none");
            let args = Args { bundle: none.clone(), counts: None, p, labels: None, out: none, force: false };
            let refused = run(args, &mut Vec::<u8>::new()).unwrap_err();
            assert!(refused.is::<WrongOption>(), "{refused}");
            assert_eq!(refused.to_string(), format!("--p: expected a level from 0 to 1, found {p}"));
        }
    }
}
