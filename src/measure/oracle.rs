//! The measures and the resize against NumPy float64 and Pillow, on real tiles: see `tools/qc/measure.py`.

use std::path::Path;

use coverslip_profile::measurement as at;

use super::focus::FocusMeter;
use super::meter::PixelMeter;
use crate::resample::Resampler;

const SIDE: usize = 224;

/// One line of the index: sizes, then over, under, white point, tissue, sharpness, banding, density, foreign, sharpness
/// across four directions.
struct Expected<'a> {
    name: &'a str,
    sizes: [usize; 3],
    numbers: [f64; 22],
}

impl<'a> Expected<'a> {
    fn parse(line: &'a str) -> Self {
        let mut fields = line.split('\t');
        let name = fields.next().expect("a name");
        let sizes = std::array::from_fn(|_| fields.next().expect("a size").parse().expect("a whole number"));
        let numbers = std::array::from_fn(|_| fields.next().expect("a value").parse().expect("a number"));
        Self { name, sizes, numbers }
    }
}

#[test]
#[ignore = "needs the files of tools/qc/measure.py in $COVERSLIP_QC_ORACLE"]
fn qc_oracle() {
    let folder = std::env::var("COVERSLIP_QC_ORACLE").expect("COVERSLIP_QC_ORACLE");
    let folder = Path::new(&folder);
    let index = std::fs::read_to_string(folder.join("index.tsv")).expect("index.tsv");
    assert!(index.lines().count() > 100, "the index is cut short");
    for line in index.lines() {
        let expected = Expected::parse(line);
        let read = |kind: &str| std::fs::read(folder.join(format!("{}.{kind}", expected.name))).expect("a tile");
        compare(&expected, &read("native"), &read("model"));
    }
}

fn compare(expected: &Expected<'_>, native: &[u8], model: &[u8]) {
    let (name, [width, height, uncovered]) = (expected.name, expected.sizes);
    let expected = &expected.numbers;
    let got = PixelMeter::default().measure(native, width, height, uncovered);
    let near = |index: usize, b: f64, by: f64| {
        let a = f64::from(got[index]);
        assert!((a - b).abs() <= by || a.is_nan() && b.is_nan(), "{name}: measurement {index} is {a}, not {b}");
    };
    // Counts: exact but for the rounding of one division.
    near(at::CLIPPED, expected[0], 1e-6);
    near(at::BLACK, expected[1], 1e-6);
    (0..3).for_each(|i| near(at::WHITE_POINT + i, expected[2 + i], 0.0));
    // A block within rounding of a threshold may fall on the other side.
    let block = 64.0 / (width * height - uncovered) as f64;
    near(at::TISSUE, expected[5], block);
    near(at::FOREIGN_SHARE, expected[17], block);
    // Single precision; a block more or less in some hundred.
    (0..6).for_each(|i| near(at::DENSITY_MEAN + i, expected[10 + i], 2e-3));
    near(at::FOREIGN, expected[16], 1e-4);
    if uncovered == 0 {
        // A spectrum of single precision; two lines of the same height may change places.
        near(at::BANDING_ROWS, expected[7], 0.05);
        near(at::BANDING_COLUMNS, expected[8], 0.05);
        if (expected[7] - expected[8]).abs() > 0.1 {
            near(at::BANDING_PERIOD, expected[9], 1.0 + 0.1 * expected[9]);
        }
    }
    // Single precision, and single pixels at the edge of the mask.
    let focus = FocusMeter::default().sharpness(model, SIDE);
    for (got, want) in
        [(focus.worst, expected[6])].into_iter().chain(focus.across.into_iter().zip(expected[18..].iter().copied()))
    {
        let same = got.is_nan() && want.is_nan() || (f64::from(got) - want).abs() <= 0.01;
        assert!(same, "{name}: {got} dB, not {want}");
    }
    let mut resampled = vec![0; 3 * SIDE * SIDE];
    Resampler::new(width as u32, height as u32, SIDE as u32).resample(native, &mut resampled).unwrap();
    // One pass after the other in whole grey levels, and weights of 16 bits: rarely 2 levels.
    let far = resampled.iter().zip(model).filter(|&(&a, &b)| a.abs_diff(b) > 1).count();
    let worst = resampled.iter().zip(model).map(|(&a, &b)| a.abs_diff(b)).max();
    assert!(far <= model.len() / 10_000 && worst <= Some(2), "{name}: {far} values, up to {worst:?} from Pillow's");
}
