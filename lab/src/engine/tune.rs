//! Which kernels are quickest on this machine, as a file that hosts name: the library itself never times.

use std::error::Error;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use coverslip_bundle::{Bundle, Int8Mix, Precision};
use coverslip_files::put;
use coverslip_vit::{Choice, Lane, Model, Tuning};

use crate::claim;
use crate::host::find_bundle;

/// Rounds, in each of which every choice runs once.
const ROUNDS: usize = 9;
/// A choice takes the table's place only if it is quicker by this share: less is a neighbour's load.
const CLEARLY: f64 = 0.03;

/// Measures, writes `path` and shows what was measured.
///
/// # Errors
/// Where the bundle is no ViT, or the file cannot be written or something else is in its place.
pub(crate) fn run(bundle: Option<&Path>, path: &Path, out: &mut impl Write) -> Result<(), Box<dyn Error>> {
    let _claim = claim::output(path, claim::TUNING, std::iter::empty::<&Path>())?;
    let bundle = Bundle::open(&find_bundle(bundle)?)?;
    let everything = Int8Mix::everything(bundle.manifest());
    let mix = bundle.int8().unwrap_or(&everything);
    let mut lanes = Vec::new();
    for choice in Choice::here() {
        let model = match choice.int8 {
            Some(_) => Model::of_mix(&bundle, choice, mix)?,
            None => Model::open(&bundle, choice)?,
        };
        lanes.push((choice, Lane::new(&Arc::new(model))?, f64::INFINITY));
    }
    let tiles = bundle.reference()?.tiles;
    let tile = &tiles[..3 * bundle.manifest().side.pow(2)];
    for _ in 0..ROUNDS {
        for (_, lane, least) in &mut lanes {
            let begun = Instant::now();
            lane.run(tile);
            *least = least.min(begun.elapsed().as_secs_f64());
        }
    }
    let times: Vec<(Choice, f64)> = lanes.into_iter().map(|(choice, _, least)| (choice, least)).collect();
    for (choice, seconds) in &times {
        writeln!(out, "{:8.2} ms  {choice}", 1e3 * seconds)?;
    }
    let tuning = quickest(&times);
    put(path, tuning.to_string().as_bytes())?;
    Ok(write!(out, "{}:\n{tuning}", path.display())?)
}

/// The quickest of each precision; the table's where none is clearly quicker.
fn quickest(times: &[(Choice, f64)]) -> Tuning {
    let best = |fits: &dyn Fn(&Choice) -> bool, table: Option<Choice>| {
        let (choice, least) = times.iter().filter(|(choice, _)| fits(choice)).min_by(|a, b| a.1.total_cmp(&b.1))?;
        let of_table = times.iter().find(|(choice, _)| Some(*choice) == table);
        let chosen = of_table.filter(|(_, seconds)| *least > seconds * (1.0 - CLEARLY));
        Some(chosen.map_or(*choice, |(choice, _)| *choice))
    };
    let float32 = |choice: &Choice| choice.floats.precision() == Precision::Float32;
    Tuning {
        float32: best(&|choice| choice.int8.is_none() && float32(choice), Choice::floats(false)),
        half: best(&|choice| choice.int8.is_none() && !float32(choice), Choice::floats(true)),
        int8: best(&|choice| choice.int8.is_some(), Choice::int8()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_must_be_clearly_quicker_than_the_tables() {
        let Some(table) = Choice::floats(false) else {
            return coverslip_testkit::note("this processor has no kernels: nothing to choose from");
        };
        let other: Choice = if table.to_string() == "avx2" { "avx512" } else { "avx2" }.parse().unwrap();
        let chosen = |seconds: f64| quickest(&[(table, 1.0), (other, seconds)]).float32;
        assert_eq!((chosen(0.98), chosen(0.9), chosen(1.1)), (Some(table), Some(other), Some(table)));
        assert_eq!(quickest(&[]), Tuning::default());
    }
}
