//! What other scanners would have made of one scanner's slides: simple changes of light, optics, electronics and
//! compression, for a site that has one scanner only. A profile that was fitted on them says so.

use coverslip_profile::Perturbation;

use coverslip_slides::simulated::Change;

/// The changes, by name. Blur is given at the model's µm/px and scaled to the slide's.
pub(super) fn changes(model_mpp: f64, slide_mpp: f64) -> Vec<(&'static str, Change)> {
    let scale = model_mpp / slide_mpp;
    vec![
        // A lamp or a white balance that is warmer, colder; and sensors whose filters overlap more or less.
        ("warm", Change::Matrix([[1.03, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.94]])),
        ("cold", Change::Matrix([[0.95, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.03]])),
        ("vivid", Change::Matrix([[1.10, -0.08, -0.02], [-0.05, 1.10, -0.05], [-0.02, -0.08, 1.10]])),
        ("pale", Change::Matrix([[0.92, 0.06, 0.02], [0.04, 0.92, 0.04], [0.02, 0.06, 0.92]])),
        // Tone curves.
        ("dark", Change::Gamma(1.15)),
        ("bright", Change::Gamma(0.87)),
        // A softer objective, a noisier sensor, a stronger compression.
        ("soft", Change::Gaussian(0.6 * scale)),
        ("noisy", Change::Noise(4.0)),
        ("squeezed", Change::Jpeg(50)),
    ]
}

/// The perturbation of UNSTABLE as a change of a slide.
pub(super) fn perturbed(perturbation: &Perturbation) -> Option<Change> {
    let still = perturbation.offset.iter().all(|offset| *offset == 0.0);
    still.then(|| Change::Matrix(perturbation.matrix.map(|row| row.map(f64::from))))
}
