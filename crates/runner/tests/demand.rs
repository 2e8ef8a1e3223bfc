//! The sizes that are inferred before a graph runs, against those that the engine makes.

use std::collections::HashMap;

use coverslip_bundle::ComposedGraph;
use coverslip_bundle::budget::MAX_GRAPH_DEPTH;
use coverslip_bundle::onnx::operators::SUPPORTED_OPERATORS;
use coverslip_bundle::onnx::{Attribute, DataType, Dim, Model, ModelWriter, Placement, inferred};
use coverslip_import::{ProbeGraph, Rewrite};
use coverslip_runner::load_probe;

/// A node a line: `name = Operator(inputs; attributes)`. `#1,2` is a vector of integers, `#s1` a number, `%` and `%s` the
/// same of floats, `-` a missing input; `axis:1` an integer attribute, `perm=0,1` a list, `mode~linear` a text.
const GRAPH: &str = "
    x = Transpose(img; perm=0,3,1,2)
    same = Abs(x)
    acos = Acos(x)
    add = Add(x, %0.5)
    yes = Greater(x, %0.1)
    no = Not(yes)
    and = And(yes, no)
    or = Or(yes, no)
    xor = Xor(yes, no)
    asin = Asin(x)
    atan = Atan(x)
    averaged = AveragePool(x; kernel_shape=3,3 strides=2,2 pads=1,1,1,1)
    averagedup = AveragePool(x; kernel_shape=3,3 strides=2,2 ceil_mode:1)
    batch = BatchNormalization(x, %1.0,1.0,1.0, %0.0,0.0,0.0, %0.0,0.0,0.0, %1.0,1.0,1.0)
    cast = Cast(x; to:6)
    ceil = Ceil(x)
    clip = Clip(x, %s0.0, %s1.0)
    concat = Concat(x, add, ceil; axis:1)
    shape = Shape(x)
    sides = Slice(shape, #2, #4)
    last = Slice(shape, #-1, #-9223372036854775807, #0, #-1)
    side = Gather(shape, #s2)
    half = Div(side, #s2)
    halves = Unsqueeze(half, #0)
    batchsize = Gather(shape, #0)
    wanted = Concat(batchsize, halves, #-1; axis:0)
    filled = ConstantOfShape(wanted2)
    wanted2 = Concat(batchsize, halves, #5; axis:0)
    tokens = Reshape(x, wanted)
    conv = Conv(x, @w; kernel_shape=3,3 strides=2,2 pads=1,1,1,1)
    same2 = Conv(x, @w; kernel_shape=3,3 strides=3,3 auto_pad~SAME_UPPER)
    dilated = Conv(x, @w; kernel_shape=3,3 dilations=2,3)
    wide = ConvTranspose(x, @v; kernel_shape=2,2 strides=2,2)
    wider = ConvTranspose(x, @v; kernel_shape=2,2 strides=3,3 pads=1,0,0,1 output_padding=1,1)
    cos = Cos(x)
    summed = CumSum(x, #s1)
    deep = DepthToSpace(conv; blocksize:2)
    div = Div(x, %s3.0)
    einsum = Einsum(x, x; equation~bchw,bchv->bcwv)
    elu = Elu(x)
    equal = Equal(cast, #s0)
    erf = Erf(x)
    exp = Exp(x)
    expanded = Expand(halves, #3,4)
    matrix = Reshape(x, #-1,32)
    eye = EyeLike(matrix)
    flat = Flatten(x; axis:2)
    flatall = Flatten(x; axis:0)
    floor = Floor(x)
    gathered = Gather(x, #2,0; axis:1)
    elements = GatherElements(matrix, @at; axis:1)
    nd = GatherND(matrix, @at)
    gelu = Gelu(x)
    gemm = Gemm(matrix, @m; transB:1)
    gap = GlobalAveragePool(x)
    gmp = GlobalMaxPool(x)
    ge = GreaterOrEqual(x, %s0.5)
    hs = HardSigmoid(x)
    hw = HardSwish(x)
    id = Identity(x)
    norm = InstanceNormalization(x, %1.0,1.0,1.0, %0.0,0.0,0.0)
    inf = IsInf(x)
    nan = IsNaN(x)
    layer = LayerNormalization(matrix, @l)
    leaky = LeakyRelu(x)
    less = Less(x, %s0.5)
    le = LessOrEqual(x, %s0.5)
    log = Log(x)
    logsoftmax = LogSoftmax(x; axis:1)
    lp = LpNormalization(x; axis:1 p:2)
    product = MatMul(x, tokenst)
    tokenst = Transpose(x; perm=0,1,3,2)
    max = Max(x, add, %s0.0)
    pooled = MaxPool(x; kernel_shape=2,2 strides=2,2)
    mean = Mean(x, add)
    min = Min(x, add)
    mod = Mod(side, #s5)
    moded = Reshape(x, modshape)
    modshape = Concat(modu, #-1; axis:0)
    modu = Unsqueeze(mod2, #0)
    mod2 = Mod(side, #s6)
    mul = Mul(x, add)
    neg = Neg(x)
    onehot = OneHot(cast2, #s7, %0.0,1.0; axis:1)
    cast2 = Cast(matrix; to:6)
    prelu = PRelu(x, %s0.1)
    padded = Pad(x, #0,0,1,2,0,0,3,4)
    pow = Pow(x, %s2.0)
    rms = RMSNormalization(matrix, @l)
    range = Range(#s0, half, #s3)
    frange = Range(%s0.0, %s1.0, %s0.1)
    rec = Reciprocal(x)
    r1 = ReduceL1(x, #1)
    r2 = ReduceL2(x, #-1; keepdims:0)
    r3 = ReduceLogSumExp(x, #2,3)
    r4 = ReduceMax(x; keepdims:0)
    r5 = ReduceMean(x, #1,2,3; keepdims:0)
    r6 = ReduceMin(x)
    r7 = ReduceProd(shape, #0; keepdims:0)
    r8 = ReduceSum(x, #0)
    r9 = ReduceSumSquare(x, #3)
    prodsize = Unsqueeze(r7, #0)
    allflat = Reshape(x, prodsize)
    relu = Relu(x)
    byscale = Resize(x, -, %1.0,1.0,1.5,0.7; mode~linear coordinate_transformation_mode~half_pixel)
    bysize = Resize(x, -, -, sizes; mode~nearest)
    sizes = Concat(firsttwo, #40,50; axis:0)
    firsttwo = Slice(shape, #0, #2)
    fside = Cast(sides; to:1)
    fhalf = Mul(fside, %s0.49)
    ffloor = Floor(fhalf)
    fints = Cast(ffloor; to:7)
    fsizes = Concat(firsttwo, fints; axis:0)
    byfloats = Resize(x, -, -, fsizes; mode~nearest)
    round = Round(x)
    scattered = ScatterElements(matrix, @at, @updates; axis:1)
    scatterednd = ScatterND(matrix, @at2, @updates2)
    sigmoid = Sigmoid(x)
    sign = Sign(x)
    sin = Sin(x)
    size = Size(x)
    sliced = Slice(x, #1,30, #3,2, #1,3, #1,-3)
    slicedall = Slice(x, #-100, #9223372036854775807, #2)
    softmax = Softmax(x; axis:-1)
    softsign = Softsign(x)
    parts = Split(x, #10,22; axis:2)
    sqrt = Sqrt(x)
    squeezed = Squeeze(gap, #2,3)
    sub = Sub(x, add)
    sum = Sum(x, add, mul)
    tanh = Tanh(x)
    tiled = Tile(x, #1,2,1,3)
    top = TopK(x, #5; axis:-1)
    trilu = Trilu(matrix)
    unsqueezed = Unsqueeze(x, #0,-1)
    chosen = Where(yes, x, %s0.0)
    open = Equal(#-1,4, #-1)
    closed = Where(open, #2,2, #-1,4)
    bychoice = Expand(halves, closed)
    found = NonZero(yes)
";

/// Constants that lines name by `@`.
fn constants(writer: &mut ModelWriter) {
    let ramp = |n: usize| (0..n).map(|at| at as f32 / n as f32).collect::<Vec<_>>();
    writer.floats("@w", &[8, 3, 3, 3], &ramp(216));
    writer.floats("@v", &[3, 4, 2, 2], &ramp(48));
    writer.floats("@m", &[5, 32], &ramp(160));
    writer.floats("@l", &[32], &ramp(32));
    writer.ints("@at", &[2, 2], &[0, 1, 2, 3]);
    writer.floats("@updates", &[2, 2], &ramp(4));
    writer.ints("@at2", &[2, 1], &[0, 1]);
    writer.floats("@updates2", &[2, 32], &ramp(64));
}

/// The name of an input, which is written if it is a number.
fn input(writer: &mut ModelWriter, written: &str, place: &str) -> String {
    fn all<T: std::str::FromStr>(text: &str) -> Vec<T> {
        text.split(' ').map(|n| n.parse().ok().expect("a number")).collect()
    }
    match written.split_at(1) {
        ("-", "") => return String::new(),
        ("#", rest) if rest.starts_with('s') => writer.ints(place, &[], &all::<i64>(&rest[1..])),
        ("#", rest) => writer.ints(place, &[all::<i64>(rest).len()], &all::<i64>(rest)),
        ("%", rest) if rest.starts_with('s') => writer.floats(place, &[], &all::<f32>(&rest[1..])),
        ("%", rest) => writer.floats(place, &[all::<f32>(rest).len()], &all::<f32>(rest)),
        _ => return written.to_owned(),
    }
    place.to_owned()
}

/// Splits at commas that are followed by a space: those inside of numbers are not.
fn inputs(text: &str) -> Vec<String> {
    text.split(", ").map(|part| part.trim().replace(',', " ")).filter(|part| !part.is_empty()).collect()
}

fn attribute(text: &'static str) -> (&'static str, Attribute) {
    if let Some((name, value)) = text.split_once('~') {
        (name, Attribute::Text(value))
    } else if let Some((name, value)) = text.split_once(':') {
        (name, Attribute::Int(value.parse().unwrap()))
    } else {
        let (name, values) = text.split_once('=').expect("an attribute");
        (name, Attribute::Ints(values.split(',').map(|value| value.parse().unwrap()).collect()))
    }
}

/// The graph, its lines in an order in which they can run; its outputs, and its operators.
fn graph() -> (Vec<u8>, Vec<String>, Vec<&'static str>) {
    let mut writer = ModelWriter::new("all", 23, 0, Placement::Inside).unwrap();
    let fixed = Dim::Fixed(32);
    writer.input(ComposedGraph::PIXELS, DataType::Uint8, &[Dim::Batch, fixed, fixed, Dim::Fixed(3)]);
    constants(&mut writer);
    writer.node("Cast", "img", &[ComposedGraph::PIXELS], &["img"], &[("to", Attribute::Int(1))]);
    let (mut known, mut names, mut operators) = (vec!["img".to_owned()], Vec::new(), Vec::new());
    let mut lines: Vec<&'static str> = GRAPH.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    while !lines.is_empty() {
        let ready = |line: &&str| {
            let inner = &line[line.find('(').unwrap() + 1..line.find([';', ')']).unwrap()];
            inputs(inner).iter().all(|input| input.starts_with(['#', '%', '@', '-']) || known.contains(input))
        };
        let at = lines.iter().position(ready).expect("a line that can run");
        let line = lines.remove(at);
        let (name, call) = line.split_once(" = ").unwrap();
        let (op, rest) = call.trim_end_matches(')').split_once('(').unwrap();
        let (given, attributes) = rest.split_once("; ").unwrap_or((rest, ""));
        let given: Vec<String> = inputs(given)
            .iter()
            .enumerate()
            .map(|(i, text)| input(&mut writer, text, &format!("{name}.{i}")))
            .collect();
        let given: Vec<&str> = given.iter().map(String::as_str).collect();
        let attributes: Vec<_> = attributes.split(' ').filter(|text| !text.is_empty()).map(attribute).collect();
        let second = format!("{name}.second");
        let outputs = if ["Split", "TopK"].contains(&op) { vec![name, &second] } else { vec![name] };
        writer.node(op, name, &given, &outputs, &attributes);
        operators.push(op);
        for output in outputs {
            known.push(output.to_owned());
            names.push(output.to_owned());
            writer.output(output, DataType::Float, &[]);
        }
    }
    (writer.finish().unwrap().0, names, operators)
}

#[test]
fn every_size_is_what_the_engine_makes() {
    let (onnx, names, operators) = graph();
    let missing: Vec<&str> = SUPPORTED_OPERATORS.into_iter().filter(|op| !operators.contains(op)).collect();
    assert!(missing.is_empty(), "no line has {missing:?}");
    let model = Model::read(&onnx).unwrap();
    for tiles in [1, 2] {
        let (demand, shapes): (_, HashMap<String, Vec<usize>>) =
            inferred(&model, (ComposedGraph::PIXELS, &[tiles, 32, 32, 3]), tiles).unwrap();
        let graph = ProbeGraph {
            onnx: onnx.clone(),
            external: None,
            side: 32,
            outputs: names.clone(),
            rewrite: Rewrite::No,
            working_bytes: demand.bytes,
        };
        let pixels: Vec<u8> = (0..tiles * 32 * 32 * 3).map(|at| (at * 31 % 256) as u8).collect();
        let found = load_probe(graph).unwrap()(&pixels, tiles).unwrap();
        let mut bytes = 0;
        for (name, value) in names.iter().zip(&found) {
            bytes += 4 * value.values.len() as u64;
            match shapes.get(name) {
                Some(shape) => assert_eq!(*shape, value.shape, "{name}, {tiles} tiles"),
                None => assert_eq!(name, "found", "only its size depends on the pixels"),
            }
        }
        assert!(demand.bytes >= bytes, "{} bytes were inferred, {bytes} are there at the end", demand.bytes);
    }
}

#[test]
fn the_engine_runs_the_longest_chain_that_a_graph_may_have() {
    let mut writer = ModelWriter::new("chain", 20, 0, Placement::Inside).unwrap();
    let fixed = Dim::Fixed(32);
    writer.input(ComposedGraph::PIXELS, DataType::Uint8, &[Dim::Batch, fixed, fixed, Dim::Fixed(3)]);
    writer.node("Cast", "v0", &[ComposedGraph::PIXELS], &["v0"], &[("to", Attribute::Int(1))]);
    let last = MAX_GRAPH_DEPTH - 1;
    for at in 0..last {
        let (from, to) = (format!("v{at}"), format!("v{}", at + 1));
        writer.node(["Relu", "Sin"][at % 2], &to, &[&from], &[&to], &[]);
    }
    let last = format!("v{last}");
    writer.output(&last, DataType::Float, &[]);
    let onnx = writer.finish().unwrap().0;
    inferred(&Model::read(&onnx).unwrap(), (ComposedGraph::PIXELS, &[1, 32, 32, 3]), 1).unwrap();
    for rewrite in [Rewrite::No, Rewrite::Yes] {
        let (onnx, outputs) = (onnx.clone(), vec![last.clone()]);
        let graph = ProbeGraph { onnx, external: None, side: 32, outputs, rewrite, working_bytes: 0 };
        // The plugin loads graphs on a thread of its own.
        let run = move || load_probe(graph).unwrap()(&[7; 32 * 32 * 3], 1).unwrap()[0].shape.clone();
        assert_eq!(std::thread::spawn(run).join().unwrap(), [1, 32, 32, 3]);
    }
}
