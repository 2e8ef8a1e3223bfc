//! The faults: what changes, how severe, and the flag that is there for it.

use std::error::Error;

use coverslip_bundle::profile::Check;

use crate::slide::simulated::Change;

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

static FAULTS: [Fault; 12] = [
    Fault {
        name: "gaussian",
        unit: "standard deviation, px of the model",
        severities: &[0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0],
        check: Check::OutOfFocus,
        change: |severity, scale| Change::Gaussian(severity * scale),
    },
    Fault {
        name: "disk",
        unit: "radius, px of the model",
        severities: &[0.5, 1.0, 2.0, 3.0, 4.0],
        check: Check::OutOfFocus,
        change: |severity, scale| Change::Disk(severity * scale),
    },
    Fault {
        name: "darker",
        unit: "share of the light that is lost",
        severities: &[0.05, 0.1, 0.2, 0.4, 0.6],
        check: Check::Underexposed,
        change: |severity, _| Change::Gain(1.0 - severity),
    },
    Fault {
        name: "brighter",
        unit: "share of light that is too much",
        severities: &[0.05, 0.1, 0.2, 0.3, 0.5],
        check: Check::Overexposed,
        change: |severity, _| Change::Gain(1.0 + severity),
    },
    Fault {
        name: "gamma up",
        unit: "exponent above 1",
        severities: &[0.05, 0.1, 0.2, 0.4, 0.8],
        check: Check::ColorShift,
        change: |severity, _| Change::Gamma(1.0 + severity),
    },
    Fault {
        name: "gamma down",
        unit: "exponent below 1",
        severities: &[0.05, 0.1, 0.2, 0.4],
        check: Check::ColorShift,
        change: |severity, _| Change::Gamma(1.0 - severity),
    },
    Fault {
        name: "colour",
        unit: "times a colour matrix between two scanners",
        severities: &[0.25, 0.5, 1.0, 2.0, 4.0],
        check: Check::ColorShift,
        change: |severity, _| Change::Matrix(between(severity)),
    },
    Fault {
        name: "banding",
        unit: "amplitude of lanes 64 px high",
        severities: &[0.005, 0.01, 0.02, 0.03, 0.05],
        check: Check::Banding,
        change: |severity, _| Change::Banding { amplitude: severity, period: 64.0 },
    },
    Fault {
        name: "noise",
        unit: "standard deviation, grey levels",
        severities: &[2.0, 4.0, 8.0, 16.0],
        check: Check::FeaturesUnreliable,
        change: |severity, _| Change::Noise(severity),
    },
    Fault {
        name: "jpeg",
        unit: "100 less the quality",
        severities: &[20.0, 40.0, 60.0, 80.0, 90.0],
        check: Check::Novel,
        change: |severity, _| Change::Jpeg((100.0 - severity) as u8),
    },
    Fault {
        name: "dust",
        unit: "specks per megapixel",
        severities: &[10.0, 30.0, 100.0, 200.0],
        check: Check::Foreign,
        change: |severity, _| Change::Dust(severity),
    },
    Fault {
        name: "pen",
        unit: "share of the slide under ink",
        severities: &[0.02, 0.05, 0.1, 0.2, 0.4],
        check: Check::Foreign,
        change: |severity, _| Change::Pen(severity),
    },
];

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
