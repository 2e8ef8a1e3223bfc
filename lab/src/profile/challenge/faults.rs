//! The faults: what changes, how severe, and the flag that is there for it.

use std::error::Error;

use coverslip_profile::Check;

use coverslip_slides::simulated::Change;

/// A fault at several severities, mild first.
pub(super) struct Fault {
    pub(super) name: &'static str,
    /// What a severity is.
    pub(super) unit: &'static str,
    pub(super) severities: &'static [f64],
    /// The flag that is there for it.
    pub(super) check: Check,
    /// From a severity, and the pixels of the slide per pixel of the model.
    pub(super) change: fn(f64, f64) -> Change,
}

impl Fault {
    /// A severity for people.
    pub(super) fn shown(&self, severity: f64) -> String {
        format!("{severity:.3}").trim_end_matches('0').trim_end_matches('.').to_owned()
    }
}

/// What another scanner's sensor and white balance make of colours, at strength 1.
const OTHER_SCANNER: [[f64; 3]; 3] = [[1.06, -0.05, 0.0], [-0.04, 1.02, 0.02], [0.03, -0.06, 0.98]];

/// The faults in the order in which they are played.
static FAULTS: [Fault; 12] = [
    fault(
        "gaussian",
        "standard deviation, px of the model",
        Check::OutOfFocus,
        &[0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0],
        |s, scale| Change::Gaussian(s * scale),
    ),
    fault("disk", "radius, px of the model", Check::OutOfFocus, &[0.5, 1.0, 2.0, 3.0, 4.0], |s, scale| {
        Change::Disk(s * scale)
    }),
    fault("darker", "share of the light that is lost", Check::Underexposed, &[0.05, 0.1, 0.2, 0.4, 0.6], |s, _| {
        Change::Gain(1.0 - s)
    }),
    fault("brighter", "share of light that is too much", Check::Overexposed, &[0.05, 0.1, 0.2, 0.3, 0.5], |s, _| {
        Change::Gain(1.0 + s)
    }),
    fault("gamma up", "exponent above 1", Check::ColorShift, &[0.05, 0.1, 0.2, 0.4, 0.8], |s, _| {
        Change::Gamma(1.0 + s)
    }),
    fault("gamma down", "exponent below 1", Check::ColorShift, &[0.05, 0.1, 0.2, 0.4], |s, _| Change::Gamma(1.0 - s)),
    fault(
        "colour",
        "times a colour matrix between two scanners",
        Check::ColorShift,
        &[0.25, 0.5, 1.0, 2.0, 4.0],
        |s, _| Change::Matrix(between(s)),
    ),
    fault("banding", "amplitude of lanes 64 px high", Check::Banding, &[0.005, 0.01, 0.02, 0.03, 0.05], |s, _| {
        Change::Banding { amplitude: s, period: 64.0 }
    }),
    fault("noise", "standard deviation, grey levels", Check::FeaturesUnreliable, &[2.0, 4.0, 8.0, 16.0], |s, _| {
        Change::Noise(s)
    }),
    fault("jpeg", "100 less the quality", Check::Novel, &[20.0, 40.0, 60.0, 80.0, 90.0], |s, _| {
        Change::Jpeg((100.0 - s) as u8)
    }),
    fault("dust", "specks per megapixel", Check::Foreign, &[10.0, 30.0, 100.0, 200.0], |s, _| Change::Dust(s)),
    fault("pen", "share of the slide under ink", Check::Foreign, &[0.02, 0.05, 0.1, 0.2, 0.4], |s, _| Change::Pen(s)),
];

const fn fault(
    name: &'static str,
    unit: &'static str,
    check: Check,
    severities: &'static [f64],
    change: fn(f64, f64) -> Change,
) -> Fault {
    Fault { name, unit, severities, check, change }
}

/// The identity, moved toward the other scanner so many times its distance.
fn between(strength: f64) -> [[f64; 3]; 3] {
    std::array::from_fn(|row| {
        std::array::from_fn(|column| {
            let own = f64::from(u8::from(row == column));
            own + strength * (OTHER_SCANNER[row][column] - own)
        })
    })
}

/// The faults with these names, or all.
pub(super) fn chosen(names: &[String]) -> Result<Vec<&'static Fault>, Box<dyn Error>> {
    if let Some(unknown) = names.iter().find(|name| FAULTS.iter().all(|fault| fault.name != **name)) {
        let known: Vec<&str> = FAULTS.iter().map(|fault| fault.name).collect();
        return Err(format!("--fault: expected one of {}, found {unknown}", known.join(", ")).into());
    }
    Ok(FAULTS.iter().filter(|fault| names.is_empty() || names.iter().any(|name| name == fault.name)).collect())
}
