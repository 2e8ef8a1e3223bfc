//! Safetensors: the parser and the reader of checkpoints. For other targets, tensors as text.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use coverslip_bundle::tensors::{Element, Tensor, TensorFile, TensorMap, to_safetensors};
use coverslip_bundle::{BundleError, RowSource};
use coverslip_import::Checkpoint;
use coverslip_testkit::Scratch;

use crate::input::Seeds;

/// Most bytes that a text of tensors may ask for.
const MOST: usize = 1 << 20;
const ELEMENTS: [(&str, Element); 7] = [
    ("f32", Element::F32),
    ("f16", Element::F16),
    ("bf16", Element::Bf16),
    ("f64", Element::F64),
    ("i32", Element::I32),
    ("i64", Element::I64),
    ("u8", Element::U8),
];

/// A safetensors file, in memory and as a checkpoint.
pub(crate) fn safetensors(data: &[u8]) -> bool {
    let taken = TensorFile::parse(data.to_vec()).is_ok_and(|file| {
        for name in file.names() {
            let tensor = file.get(name).expect("a name of its own list");
            let _ = (tensor.to_f32(), tensor.to_i32(), tensor.to_u8(), tensor.check_finite());
        }
        true
    });
    let scratch = Scratch::new("fuzz");
    let path = scratch.join("model.safetensors");
    fs::write(&path, data).expect("a scratch file");
    read_all(&path).is_ok() && taken
}

/// Reads every tensor of a checkpoint, whole and its first row.
pub(crate) fn read_all(path: &Path) -> Result<(), BundleError> {
    let file = Checkpoint::open(path)?;
    let names: Vec<String> = file.names().map(str::to_owned).collect();
    for name in &names {
        let shape = file.shape(name).expect("a name of its own list");
        let values = shape.iter().try_fold(1usize, |product, side| product.checked_mul(*side));
        if values.is_some_and(|values| values <= MOST) {
            let _ = file.read(name).and_then(|tensor| tensor.to(name, Element::F32));
        }
        let _ = file.read_rows(name, 0..1);
    }
    Ok(())
}

/// The tensors of a text, one a line: `NAME TYPE SIDE,SIDE [VALUE]`. Without VALUE they differ, and whole numbers count. A
/// fuzzer finds its way in names and shapes sooner than in megabytes of weights. `None` where they would be large.
pub(crate) fn of_text(text: &[u8]) -> Option<TensorMap> {
    let mut tensors = TensorMap::new();
    let mut left = MOST;
    for line in String::from_utf8_lossy(text).lines() {
        let mut words = line.split(' ');
        let (Some(name), Some(element), Some(sides)) = (words.next(), words.next(), words.next()) else { continue };
        let Some((_, element)) = ELEMENTS.iter().find(|(known, _)| *known == element) else { continue };
        let shape: Vec<usize> = sides.split(',').filter_map(|side| side.parse().ok()).collect();
        let count = shape.iter().try_fold(1usize, |product, side| product.checked_mul(*side))?;
        left = left.checked_sub(count.checked_mul(8)?)?;
        let value = words.next().and_then(|value| value.parse::<f32>().ok());
        let bytes = (0..count).flat_map(|at| number(*element, value, at)).collect();
        tensors.insert(name.to_owned(), Tensor { element: *element, shape, bytes });
    }
    Some(tensors)
}

fn number(element: Element, value: Option<f32>, at: usize) -> Vec<u8> {
    let whole = matches!(element, Element::I64 | Element::I32 | Element::U8);
    let value = value.unwrap_or(if whole { at as f32 } else { (at * 7919 % 31) as f32 / 64.0 - 0.2 });
    match element {
        Element::F64 => f64::from(value).to_le_bytes().to_vec(),
        Element::F32 => value.to_le_bytes().to_vec(),
        Element::Bf16 => value.to_le_bytes()[2..].to_vec(),
        Element::F16 => Tensor::f16(&[1], &[value.clamp(-60_000.0, 60_000.0)]).bytes,
        Element::I64 => (value as i64).to_le_bytes().to_vec(),
        Element::I32 => (value as i32).to_le_bytes().to_vec(),
        Element::U8 => vec![value as u8],
    }
}

/// The text from which [`of_text`] makes tensors of the same names and shapes as a checkpoint's.
pub(crate) fn text_of(path: &Path) -> String {
    let file = Checkpoint::open(path).unwrap_or_else(|error| panic!("{error}"));
    let mut text = String::new();
    for name in file.names() {
        let element = file.element(name).expect("a name of its own list");
        let element = ELEMENTS.iter().find(|(_, known)| *known == element).expect("every element has a name").0;
        let shape = file.shape(name).expect("a name of its own list");
        let shape: Vec<String> = shape.iter().map(usize::to_string).collect();
        // A standard deviation must be above 0. Whole numbers are left as they count.
        let values = file.read(name).and_then(|tensor| tensor.view(name).to_f32()).unwrap_or_default();
        let positive = values.first().filter(|_| values.iter().all(|value| *value > 0.0));
        let value = positive.map_or_else(String::new, |value| format!(" {value}"));
        writeln!(text, "{name} {element} {}{value}", shape.join(",")).expect("text grows");
    }
    text
}

/// A safetensors file of a text's tensors.
pub(crate) fn file_of_text(text: &[u8]) -> Option<Vec<u8>> {
    to_safetensors(&of_text(text)?).ok()
}

pub(crate) fn seeds() -> Seeds {
    let all = "a f32 2,3\nb f16 4\nc bf16 1,2,2\nd f64 3\ne i32 2\nf i64 2\ng u8 5\n";
    let texts = [("types", all), ("empty", ""), ("scalar", "one f32  0.5\n"), ("nothing", "none f32 0,4\n")];
    let seed = |(name, text): (&str, &str)| (name.to_owned(), file_of_text(text.as_bytes()).expect("a small file"));
    texts.into_iter().map(seed).collect()
}
