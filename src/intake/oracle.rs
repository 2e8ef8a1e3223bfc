//! The measures and the resize against NumPy float64 and Pillow, on real tiles: see `tools/qc/measure.py`.

use std::path::Path;

use super::blocks::Blocks;
use super::exposure::measure;
use super::focus::FocusMeter;
use super::resample::Resampler;
use super::tissue::tissue_fraction;

const SIDE: usize = 224;

/// One line of the index: sizes, then over, under, white point, tissue, sharpness.
struct Expected<'a> {
    name: &'a str,
    sizes: [usize; 3],
    numbers: [f64; 7],
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
    let [over, under, red, green, blue, tissue, sharpness] = expected.numbers;
    let mut blocks = Blocks::new(width, height);
    let got = measure(native, width, height, uncovered, &mut blocks);
    // Counts: exact but for the rounding of one division.
    let near = |a: f32, b: f64, by: f64| (f64::from(a) - b).abs() <= by;
    assert!(near(got.over, over, 1e-6) && near(got.under, under, 1e-6), "{name}: {got:?}");
    assert_eq!(got.white_point.map(f64::from), [red, green, blue], "{name}: white point");
    // A block within rounding of a threshold may fall on the other side.
    let block = 64.0 / (width * height - uncovered) as f64;
    let fraction = tissue_fraction(&blocks, uncovered, got.white_point);
    assert!(near(fraction, tissue, block), "{name}: tissue {fraction}, not {tissue}");
    // Single precision, and single pixels at the edge of the mask.
    let decibels = FocusMeter::new(SIDE).sharpness(model, SIDE);
    let same = decibels.is_nan() && sharpness.is_nan() || near(decibels, sharpness, 0.01);
    assert!(same, "{name}: {decibels} dB, not {sharpness}");
    let mut resampled = vec![0; 3 * SIDE * SIDE];
    Resampler::new(width as u32, height as u32, SIDE as u32).resample(native, &mut resampled);
    // One pass after the other in whole grey levels, and weights of 16 bits: rarely 2 levels.
    let far = resampled.iter().zip(model).filter(|&(&a, &b)| a.abs_diff(b) > 1).count();
    let worst = resampled.iter().zip(model).map(|(&a, &b)| a.abs_diff(b)).max();
    assert!(far <= model.len() / 10_000 && worst <= Some(2), "{name}: {far} values, up to {worst:?} from Pillow's");
}
