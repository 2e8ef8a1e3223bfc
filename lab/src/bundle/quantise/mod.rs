//! `coverslip bundle quantise`: which layers of a ViT may be in int8.
//!
//! The slides are in two halves. One calibrates: it evens out the norms and chooses the layers. The other judges: on it
//! the gate is measured, once, with the mix that was chosen.

mod curve;
mod fidelity;
mod page;
mod slides;

use std::error::Error;
use std::io::Write;
use std::path::PathBuf;

use coverslip_bundle::build::{check_place, with_int8};
use coverslip_bundle::{Architecture, Bundle, Int8Gate};
use coverslip_profile::Profile;
use coverslip_vit::{Choice, outputs};

use crate::claim;
use curve::{Curve, Point};
use fidelity::Fidelity;

/// What is quantised, on which tiles, and where to.
#[derive(Debug)]
pub(crate) struct QuantiseRequest {
    pub(crate) bundle: PathBuf,
    /// A slide each.
    pub(crate) tiles: Vec<PathBuf>,
    /// Whose checks the gate counts beside the bundle's own.
    pub(crate) profile: Option<PathBuf>,
    pub(crate) out: PathBuf,
    pub(crate) force: bool,
}

/// Chooses the layers, measures the gate and writes a copy of the bundle that has both.
///
/// # Errors
/// Where tiles or bundle cannot be read, the processor has no int8, or the bundle cannot be written.
pub(crate) fn run(request: &QuantiseRequest, out: &mut impl Write) -> Result<(), Box<dyn Error>> {
    let claim = claim::beside(&request.out)?;
    check_place(claim.place(), request.force)?;
    let bundle = Bundle::open(&request.bundle)?;
    if !matches!(bundle.manifest().architecture, Architecture::Vit(_)) {
        return Err("the bundle's model is an ONNX graph: expected a ViT, whose layers have kernels for int8".into());
    }
    let profile = request.profile.as_deref().map(Profile::open).transpose()?.map(|(profile, _)| profile);
    if let Some(profile) = &profile {
        profile.check_bundle(bundle.manifest(), bundle.digest())?;
    }
    let (Some(floats), Some(mixed)) = (Choice::floats(false), Choice::int8()) else {
        return Err("this processor has no products of int8: expected AVX512-VNNI, AVX-VNNI or NEON with dotprod; \
                    build on one that has them"
            .into());
    };
    let (calibrating, judging) = slides::read(&request.tiles, bundle.manifest().side)?;
    writeln!(
        out,
        "{} tiles of {} slides calibrate, {} of {} others judge; {mixed} beside {floats}",
        calibrating.count(),
        calibrating.slides.len(),
        judging.count(),
        judging.slides.len(),
    )?;
    let curve = Curve::new(&bundle, (floats, mixed), &calibrating)?;
    let chosen = curve.choose(out)?;
    let mix = curve.mix(&chosen.point);
    let expected = outputs(&bundle, floats, &judging.pixels)?;
    let judge = |point: &Point| -> Result<Fidelity, Box<dyn Error>> {
        let found = curve.outputs(point, &judging.pixels)?;
        Ok(fidelity::measure(bundle.manifest(), profile.as_ref(), &judging, (&expected, &found)))
    };
    let found = judge(&chosen.point)?;
    let gate = Int8Gate {
        slides: judging.slides.len(),
        tiles: judging.count(),
        overlap: found.overlap,
        overlap_low: found.low,
        value_overlap: found.value,
        flags_changed: found.flags,
        kernels: curve.kernels(chosen.point.rest).to_string(),
    };
    // The other points are looked at after the choice, for the page alone.
    let others =
        chosen.others.iter().map(|point| Ok((point, judge(point)?))).collect::<Result<Vec<_>, Box<dyn Error>>>();
    page::write(out, &curve, (&chosen.point, &found), &others?)?;
    let refusal = gate.refusal();
    let bundle = with_int8(&request.bundle, claim, &mix, gate, request.force)?;
    writeln!(out, "{}", request.out.display())?;
    match refusal {
        None => writeln!(out, "the gate holds: hosts may ask for COVERSLIP_CPU_PRECISION_INT8")?,
        Some(reason) => writeln!(out, "not offered in int8: {reason}")?,
    }
    Ok(writeln!(out, "{}", bundle.digest())?)
}

#[cfg(test)]
mod tests {
    use coverslip_bundle::synthetic::{self, SyntheticSpec};
    use coverslip_bundle::tensors::{Tensor, TensorMap, to_safetensors};
    use coverslip_testkit::{Fixture, Scratch};

    use super::*;

    #[test]
    fn the_bundle_says_what_was_chosen_and_what_was_measured() {
        let spec = SyntheticSpec { embed_dim: 64, ..SyntheticSpec::default() };
        let fixture = Fixture::with(&spec);
        let scratch = Scratch::new("quantise");
        let (tiles, to) = (scratch.path().join("tiles.safetensors"), scratch.path().join("int8"));
        let slides: Vec<i32> = (0..8).map(|tile| tile / 2).collect();
        let tensors = TensorMap::from([
            ("tiles".to_owned(), Tensor::u8(&[8, spec.side, spec.side, 3], &synthetic::tiles(&spec, 8))),
            ("slide".to_owned(), Tensor::i32(&[8], &slides)),
        ]);
        std::fs::write(&tiles, to_safetensors(&tensors).unwrap()).unwrap();
        let bundle = fixture.dir();
        let request = QuantiseRequest { bundle, tiles: vec![tiles], profile: None, out: to.clone(), force: false };
        let mut out = Vec::new();
        let done = run(&request, &mut out);
        let page = String::from_utf8(out).unwrap();
        if Choice::int8().is_none() {
            return assert!(done.unwrap_err().to_string().contains("no products of int8"));
        }
        done.unwrap();
        let bundle = Bundle::open(&to).unwrap();
        let int8 = bundle.manifest().int8.as_ref().unwrap();
        assert_eq!((int8.gate.slides, int8.gate.tiles, int8.layers.len()), (2, 4, 2));
        assert!(int8.layers.iter().any(|layers| !layers.is_empty()), "{page}");
        assert_eq!(page.contains("hosts may ask for"), int8.gate.refusal().is_none(), "{page}");
        // What the bundle says is what its own mix gives.
        let (_, judging) = slides::read(&request.tiles, spec.side).unwrap();
        let float32 = outputs(&bundle, Choice::floats(false).unwrap(), &judging.pixels).unwrap();
        let model = coverslip_vit::Model::of_mix(&bundle, Choice::int8().unwrap(), bundle.int8().unwrap()).unwrap();
        let mixed = coverslip_vit::of_model(bundle.manifest(), model, &judging.pixels).unwrap();
        let found = fidelity::measure(bundle.manifest(), None, &judging, (&float32, &mixed));
        assert_eq!((found.overlap, found.value), (int8.gate.overlap, int8.gate.value_overlap));
    }
}
