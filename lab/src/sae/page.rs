//! The tables of `sae eval`, in 80 columns.

use std::io::{self, Write};

use crate::findings::sae::{ProbeFindings, SaeFigures, SaeFindings};
use crate::term::paragraph;

/// Prints everything that was found.
pub(super) fn print(found: &SaeFindings, out: &mut dyn Write) -> io::Result<()> {
    writeln!(
        out,
        "tap {}, {} held-out {} of {} {}s, {} to train on",
        found.tap, found.held_out_tiles, found.rows, found.held_out_slides, found.grouped_by, found.train_tiles
    )?;
    writeln!(
        out,
        "{:<26} {:<8} {:>7} {:>6} {:>7} {:>6} {:>5} {:>7}",
        "SAE", "", "features", "L0", "FVU", "dead", "dense", "PCA FVU"
    )?;
    for line in &found.saes {
        writeln!(
            out,
            "{:<26} {:<8} {:>7} {:>6.1} {:>7.4} {:>6} {:>5} {:>7.4}",
            end(&line.sae, 26),
            line.architecture,
            line.features,
            line.l0,
            line.fvu,
            line.dead,
            line.dense,
            line.pca_fvu
        )?;
    }
    baselines(&found.saes, out)?;
    agreement(found, out)?;
    match &found.probes {
        Some(probes) => probed(probes, &found.rows, out),
        None => Ok(()),
    }
}

/// The last characters: what tells paths apart.
fn end(text: &str, most: usize) -> String {
    let all: Vec<char> = text.chars().collect();
    all[all.len().saturating_sub(most)..].iter().collect()
}

/// What an SAE has to beat.
fn baselines(saes: &[SaeFigures], out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "\nFVU of what it has to beat, with as many features and as many active")?;
    for one in saes {
        writeln!(out, "{:<40}{:>8.4}", end(&one.sae, 40), one.fvu)?;
        for other in &one.baselines {
            writeln!(out, "  {:<38}{:>8.4}  (L0 {:.1})", other.name, other.fvu, other.l0)?;
        }
        writeln!(out, "  {:<38}{:>8.4}", "principal components", one.pca_fvu)?;
    }
    Ok(())
}

/// Whether two dictionaries have the same features.
fn agreement(found: &SaeFindings, out: &mut dyn Write) -> io::Result<()> {
    if found.agreement.is_empty() {
        return Ok(());
    }
    writeln!(out, "\nThe nearest feature of the other SAE: cosine of the decoders, median")?;
    for pair in &found.agreement {
        writeln!(
            out,
            "{:<22} {:<22} {:.2} (random {:.2}), {:.0} % at 0.7",
            end(&pair.saes[0], 22),
            end(&pair.saes[1], 22),
            pair.median,
            pair.chance,
            100.0 * pair.found_again
        )?;
    }
    write!(
        out,
        "{}",
        paragraph(
            "A feature's number belongs to one SAE: trained again with another seed, its features are others, as far from \
             these as the cosines say."
        )
    )
}

/// Labels read from few columns.
fn probed(found: &ProbeFindings, rows: &str, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out)?;
    write!(
        out,
        "{}",
        paragraph(&format!(
            "{} read from the k columns that tell most, on {}s that were held out: AUC (95 % interval), 0.5 is chance; {} \
             {rows} of {} {}s, {} kinds",
            found.label,
            found.grouped_by,
            found.tiles,
            found.groups,
            found.grouped_by,
            found.kinds.len()
        ))
    )?;
    writeln!(out, "{:<28}{:<18}{:>6}{:>7}   {:<18}", "", "k 1", "k 2", "k 5", "k 16")?;
    let plain = |value: Option<f64>| value.map_or_else(|| "-".into(), |value| format!("{value:.2}"));
    for row in &found.rows {
        let [one, two, five, many] = row.probes.as_slice() else {
            writeln!(out, "{:<28}-", end(&row.name, 27))?;
            continue;
        };
        let ranged = |probe: &crate::findings::sae::ProbedFigures| match probe.interval {
            [Some(low), Some(high)] => format!("{} ({low:.2}-{high:.2})", plain(probe.auc)),
            _ => plain(probe.auc),
        };
        writeln!(
            out,
            "{:<28}{:<18}{:>6}{:>7}   {:<18}",
            end(&row.name, 27),
            ranged(one),
            plain(two.auc),
            plain(five.auc),
            ranged(many)
        )?;
    }
    let reasons: std::collections::BTreeSet<&String> =
        found.rows.iter().filter_map(|row| row.undefined.as_ref()).collect();
    for why in reasons {
        write!(out, "{}", paragraph(why))?;
    }
    Ok(())
}
