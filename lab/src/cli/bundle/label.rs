//! `coverslip bundle label`.

use std::error::Error;
use std::io::Write;
use std::path::PathBuf;

use crate::bundle::{self, LabelRequest};
use crate::findings::counts::ALPHA;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The bundle's directory
    bundle: PathBuf,
    /// The result of `coverslip analyze counts --bundle`: each feature gets the cell type that it follows most closely
    #[arg(long, value_name = "COUNTS.JSON")]
    counts: Option<PathBuf>,
    /// With --counts: label features with an adjusted p of at most this
    #[arg(long, value_name = "P", default_value_t = ALPHA)]
    p: f64,
    /// Labels of your own, which override those of --counts: [{"index": 412, "label": "lymphocytes", "evidence": "…",
    /// "cell_type": "…", "correlation": 0.71, "tiles": 56, "dataset": "…"}]; all but index and label may be left out
    #[arg(long, value_name = "JSON")]
    labels: Option<PathBuf>,
    /// The directory of the labelled bundle
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Replace the bundle that is there
    #[arg(long)]
    force: bool,
}

pub(super) fn run(args: Args, out: &mut impl Write) -> Result<(), Box<dyn Error>> {
    let Args { bundle, counts, p, labels, out: to, force } = args;
    bundle::label(&LabelRequest { bundle, counts, p, labels, out: to, force }, out)
}
