//! Importing a stranger's ONNX graph, run by the engine that runs it when a bundle is built.

use std::fs;

use coverslip_bundle::onnx::operators::SUPPORTED_OPERATORS;
use coverslip_bundle::onnx::{Attribute, DataType, Dim, Model, ModelWriter, Placement};
use coverslip_bundle::{ComposedGraph, Pooling};
use coverslip_import::{ImportedOnnx, OnnxFile, OnnxSpec, OnnxTap, StoreAs, candidates, import_onnx};
use coverslip_runner::load_probe;
use coverslip_testkit::Scratch;

use crate::input::{Input, Seeds, joined};

/// Width and height of the model's input, px.
const SIDE: usize = 16;
/// The graph's one output.
const OUTPUT: &str = "out";
/// Most nodes of a graph that is made of choices.
const NODES: usize = 24;
/// The bit of the first byte by which an input is a sequence of choices, of which a graph is made.
const CHOICES: u8 = 0x80;
/// The bit by which patch tokens are not pooled.
const ONE_BY_ONE: u8 = 0x40;
/// The bit by which a file has another one beside it, with the values of its constants.
const APART: u8 = 0x20;

/// A file, or choices of which a file is made: a mutation of a file seldom stays a graph.
pub(crate) fn onnx(data: &[u8]) -> bool {
    let mut input = Input::new(data);
    let choice = input.byte();
    let external = if choice & (CHOICES | APART) == APART { Some(input.part()) } else { None };
    let file = if choice & CHOICES == 0 { input.rest().to_vec() } else { chosen(input) };
    let pooling = match choice % 4 {
        0 => Pooling::None,
        1 => Pooling::MeanPatchTokens,
        2 => Pooling::ClassToken,
        _ if choice & ONE_BY_ONE != 0 => Pooling::PatchTokens,
        _ => Pooling::ClassAndMean,
    };
    import(&file, external, pooling).is_some()
}

/// `external`: the file beside the model.
fn import(file: &[u8], external: Option<&[u8]>, pooling: Pooling) -> Option<ImportedOnnx> {
    let scratch = Scratch::new("fuzz");
    let path = scratch.join("model.onnx");
    fs::write(&path, file).expect("a scratch file");
    if let Some(external) = external {
        fs::write(scratch.join(ComposedGraph::EXTERNAL_FILE), external).expect("a scratch file");
    }
    let file = OnnxFile::open(&path).expect("the scratch file");
    let _ = file.parameters();
    let mut spec = OnnxSpec { img_size: Some(SIDE), ..OnnxSpec::default() };
    let _ = candidates(&file, &spec, &mut load_probe);
    let tensor = Model::read(&fs::read(&path).expect("the scratch file")).ok()?.outputs.first()?.name.clone();
    spec.taps = vec![OnnxTap { name: "last".to_owned(), tensor, pooling, prefix_tokens: None }];
    (spec.mean, spec.std) = (Some([0.5; 3]), Some([0.5; 3]));
    let mut imported = import_onnx(&file, &spec, StoreAs::Keep, &mut load_probe).ok()?;
    // They are read from the file, which goes.
    imported.weights = imported.weights.read().ok()?.into();
    Some(imported)
}

/// A small convolutional model whose output is a vector of 8.
fn vectors(place: Placement) -> Onnx {
    let mut model = started(place);
    let weights: Vec<f32> = (0..8 * 3 * 16).map(|at| (at * 37 % 23) as f32 / 40.0 - 0.25).collect();
    model.floats("w", &[8, 3, 4, 4], &weights);
    model.ints("shape", &[2], &[-1, 8]);
    let four = |name| (name, Attribute::Ints(vec![4, 4]));
    model.node("Conv", "conv", &["pixels", "w"], &["patches"], &[four("kernel_shape"), four("strides")]);
    model.node("Relu", "relu", &["patches"], &["active"], &[]);
    model.node("GlobalAveragePool", "pool", &["active"], &["pooled"], &[]);
    model.node("Reshape", "flat", &["pooled", "shape"], &[OUTPUT], &[]);
    finished(model, &[Dim::Batch, Dim::Fixed(8)])
}

/// The same with an output of tokens of 32.
fn tokens() -> Onnx {
    let mut model = started(Placement::Inside);
    let weights: Vec<f32> = (0..32 * 3 * 16).map(|at| (at * 41 % 29) as f32 / 60.0 - 0.25).collect();
    model.floats("w", &[32, 3, 4, 4], &weights);
    model.floats("scale", &[32], &[1.0; 32]);
    model.floats("shift", &[32], &[0.1; 32]);
    model.ints("shape", &[3], &[0, 32, -1]);
    let four = |name| (name, Attribute::Ints(vec![4, 4]));
    model.node("Conv", "conv", &["pixels", "w"], &["patches"], &[four("kernel_shape"), four("strides")]);
    model.node("Reshape", "flat", &["patches", "shape"], &["rows"], &[]);
    model.node("Transpose", "turn", &["rows"], &["tokens"], &[("perm", Attribute::Ints(vec![0, 2, 1]))]);
    model.node("Softmax", "soft", &["tokens"], &["shares"], &[("axis", Attribute::Int(-1))]);
    model.node("Add", "add", &["tokens", "shares"], &["sum"], &[]);
    model.node("LayerNormalization", "norm", &["sum", "scale", "shift"], &[OUTPUT], &[("axis", Attribute::Int(-1))]);
    finished(model, &[Dim::Batch, Dim::Any, Dim::Fixed(32)])
}

/// `place`: where large constants lie.
fn started(place: Placement) -> ModelWriter {
    let mut model = ModelWriter::new("seed", 20, 0, place).expect("no memory is reserved");
    model.input("pixels", DataType::Float, &[Dim::Batch, Dim::Fixed(3), Dim::Fixed(SIDE), Dim::Fixed(SIDE)]);
    model
}

/// A graph's file, and the one beside it.
type Onnx = (Vec<u8>, Option<Vec<u8>>);

fn finished(mut model: ModelWriter, output: &[Dim]) -> Onnx {
    model.output(OUTPUT, DataType::Float, output);
    let (file, external) = model.finish().expect("a small graph");
    (file, external.map(|external| external.bytes))
}

/// The parts of a bundle that [`vectors`] becomes.
pub(crate) fn imported() -> ImportedOnnx {
    import(&vectors(Placement::Inside).0, None, Pooling::None).expect("a graph of our own")
}

/// Numbers that a stranger's shapes, axes and repeats may have.
const NUMBERS: [i64; 16] = [0, 1, 2, 3, 4, 8, -1, -2, 7, 16, 64, 1 << 16, 1 << 33, 1 << 62, i64::MIN, i64::MAX];
const INTEGERS: [&str; 12] = [
    "axis",
    "keepdims",
    "to",
    "group",
    "num_outputs",
    "largest",
    "upper",
    "exclusive",
    "reverse",
    "blocksize",
    "fmod",
    "k",
];
const LISTS: [&str; 7] = ["axes", "perm", "kernel_shape", "strides", "pads", "dilations", "output_shape"];
const TEXTS: [(&str, &str); 10] = [
    ("mode", "nearest"),
    ("mode", "linear"),
    ("mode", "cubic"),
    ("mode", "DCR"),
    ("mode", "reflect"),
    ("mode", "edge"),
    ("auto_pad", "SAME_UPPER"),
    ("coordinate_transformation_mode", "asymmetric"),
    ("equation", "bchw,bchw->bhw"),
    ("reduction", "add"),
];

/// A graph whose nodes are supported operators on values and constants that the input chooses.
fn chosen(mut input: Input) -> Vec<u8> {
    let mut model = started(Placement::Inside);
    let mut values = vec!["pixels".to_owned()];
    for at in 0..NODES {
        if input.is_empty() {
            break;
        }
        let op = input.one(&SUPPORTED_OPERATORS);
        let arity = input.below(4);
        let inputs: Vec<String> = (0..=arity)
            .map(|place| {
                let which = usize::from(input.byte());
                if which < 128 {
                    // Late values first: zeros make a chain.
                    return values[values.len() - 1 - which % values.len()].clone();
                }
                let name = format!("c{at}.{place}");
                constant(&mut model, &name, &mut input);
                name
            })
            .collect();
        let attributes: Vec<(&str, Attribute)> = (0..input.below(4)).map(|_| attribute(&mut input)).collect();
        let made = format!("v{at}");
        let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
        model.node(op, &made, &inputs, &[&made], &attributes);
        values.push(made);
    }
    let last = values.last().map_or("pixels", String::as_str);
    model.node("Identity", "end", &[last], &[OUTPUT], &[]);
    finished(model, &[Dim::Any]).0
}

fn constant(model: &mut ModelWriter, name: &str, input: &mut Input) {
    let floats = |count: usize| -> Vec<f32> { (0..count).map(|at| (at * 13 % 17) as f32 / 8.0 - 1.0).collect() };
    match input.below(8) {
        0 => model.floats(name, &[], &[f32::from(input.byte() as i8) / 16.0]),
        1 => model.floats(name, &[8, 8], &floats(64)),
        2 => model.floats(name, &[8, 3, 4, 4], &floats(384)),
        3 => model.floats(name, &[1, 3, 1, 1], &floats(3)),
        4 => model.ints(name, &[], &[input.one(&NUMBERS)]),
        5 => model.floats(name, &[0], &[]),
        _ => {
            let numbers: Vec<i64> = (0..input.below(5)).map(|_| input.one(&NUMBERS)).collect();
            model.ints(name, &[numbers.len()], &numbers);
        }
    }
}

fn attribute(input: &mut Input) -> (&'static str, Attribute) {
    match input.below(4) {
        0 | 1 => (input.one(&INTEGERS), Attribute::Int(input.one(&NUMBERS))),
        2 => {
            let name = input.one(&LISTS);
            (name, Attribute::Ints((0..input.below(5)).map(|_| input.one(&NUMBERS)).collect()))
        }
        _ => {
            let (name, text) = input.one(&TEXTS);
            (name, Attribute::Text(text))
        }
    }
}

pub(crate) fn seeds() -> Seeds {
    // GlobalAveragePool, then Reshape to [-1, 3]: a constant of the seventh kind with two numbers.
    let of = |op: &str| SUPPORTED_OPERATORS.iter().position(|known| *known == op).expect("a supported operator") as u8;
    let graph = [of("GlobalAveragePool"), 0, 0, 0, of("Flatten"), 0, 0, 0];
    let (apart, external) = vectors(Placement::Apart);
    let external = external.expect("its weights are large enough to lie apart");
    vec![
        ("vectors".to_owned(), joined(0, &[], &vectors(Placement::Inside).0)),
        ("apart".to_owned(), joined(APART, &[&external], &apart)),
        ("tokens".to_owned(), joined(1, &[], &tokens().0)),
        ("chosen".to_owned(), joined(CHOICES, &[], &graph)),
    ]
}
