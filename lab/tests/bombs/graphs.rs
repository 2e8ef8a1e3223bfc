//! Graphs that compute a size. Each is a strange model for `bundle build` and `bundle inspect`, and a strange bundle for
//! `bundle verify` and for the library.

use std::fs;
use std::path::{Path, PathBuf};

use coverslip_bundle::Digest;
use coverslip_bundle::onnx::{Attribute, tensor_attribute};
use coverslip_testkit::Scratch;
use serde_json::{Value, json};

use super::host::Host;
use super::inference::INFERENCE;
use super::onnx::{Bomb, Made, Net};
use super::{assert_done, assert_refused, coverslip, text, tiles};

const MODEL: &str = r#"{"img_size": 32, "taps": [{"name": "last", "tensor": "emb", "pooling": "none"}], "mpp": 0.5,
    "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "name": "n", "licence": "MIT", "source": "s"}"#;

/// Graphs that an engine would run until memory or patience ends.
const BOMBS: [Bomb; 36] = [
    ("a size from Shape", |net| {
        let (shape, times) = (net.op("Shape", &["x"]), net.ints(&[1, 1000, 1000, 1000]));
        let size = net.op("Mul", &[&shape, &times]);
        net.op("ConstantOfShape", &[&size])
    }),
    ("a size just above the budget", |net| {
        let (shape, times) = (net.op("Shape", &["x"]), net.ints(&[1, 700, 32, 32]));
        let size = net.op("Mul", &[&shape, &times]);
        net.op("ConstantOfShape", &[&size])
    }),
    ("a size through floats", |net| {
        let shape = net.op("Shape", &["x"]);
        let shape = net.op_with("Cast", &[&shape], &[("to", Attribute::Int(1))]);
        let times = net.float(1e4);
        let size = net.op("Mul", &[&shape, &times]);
        let size = net.op("Floor", &[&size]);
        let size = net.op_with("Cast", &[&size], &[("to", Attribute::Int(7))]);
        net.op("ConstantOfShape", &[&size])
    }),
    ("a size from pixels", |net| {
        let most = net.op_with("ReduceMax", &["x"], &[("keepdims", Attribute::Int(0))]);
        let most = net.op_with("Cast", &[&most], &[("to", Attribute::Int(7))]);
        let axis = net.ints(&[0]);
        let size = net.op("Unsqueeze", &[&most, &axis]);
        net.op("ConstantOfShape", &[&size])
    }),
    ("a size from the number of pixels that are not black", |net| {
        let found = net.op("NonZero", &["x"]);
        let size = net.op("Shape", &[&found]);
        net.op("ConstantOfShape", &[&size])
    }),
    ("a constant's size", |net| {
        let size = net.ints(&[1 << 20, 1 << 20]);
        net.op("ConstantOfShape", &[&size])
    }),
    ("sizes whose product overflows", |net| {
        let size = net.ints(&[0x7fff_ffff, 0x7fff_ffff, 0x7fff_ffff]);
        net.op("ConstantOfShape", &[&size])
    }),
    ("a size beyond 32 bits by multiplication", |net| {
        let (a, b) = (net.ints(&[0x10001]), net.ints(&[0x10001]));
        let size = net.op("Mul", &[&a, &b]);
        net.op("ConstantOfShape", &[&size])
    }),
    ("Expand", |net| {
        let size = net.ints(&[10_000_000, 3, 32, 32]);
        net.op("Expand", &["x", &size])
    }),
    ("Tile", |net| {
        let times = net.ints(&[1, 1000, 100, 100]);
        net.op("Tile", &["x", &times])
    }),
    ("Pad", |net| {
        let pads = net.ints(&[0, 0, 0, 0, 0, 0, 40_000, 40_000]);
        net.op("Pad", &["x", &pads])
    }),
    ("Resize by scales", |net| {
        let scales = net.floats(&[4], &[1.0, 1.0, 1000.0, 1000.0]);
        net.op_with("Resize", &["x", "", &scales], &[("mode", Attribute::Text("nearest"))])
    }),
    ("Resize to sizes", |net| {
        let sizes = net.ints(&[1, 3, 30_000, 30_000]);
        net.op_with("Resize", &["x", "", "", &sizes], &[("mode", Attribute::Text("nearest"))])
    }),
    ("Range", |net| {
        let (from, to, step) = (net.int(0), net.int(0x7fff_fff0), net.int(1));
        net.op("Range", &[&from, &to, &step])
    }),
    ("a Range whose counter wraps", |net| {
        let (from, to, step) = (net.int(0), net.int(0x7fff_ffff), net.int(1 << 30));
        net.op("Range", &[&from, &to, &step])
    }),
    ("a Range whose steps are rounded away", |net| {
        let (from, to, step) = (net.float(1e8), net.float(2e8), net.float(1.0));
        net.op("Range", &[&from, &to, &step])
    }),
    ("OneHot", |net| {
        let (at, depth) = (net.ints(&[1, 2, 3, 4]), net.int(1 << 30));
        let values = net.floats(&[2], &[0.0, 1.0]);
        net.op("OneHot", &[&at, &depth, &values])
    }),
    ("Gather by many indices", |net| {
        let size = net.ints(&[1 << 22]);
        let zero = tensor_attribute("value", &[1], 7, &0i64.to_le_bytes());
        let at = net.raw("ConstantOfShape", &[&size], vec![zero]);
        net.op_with("Gather", &["x", &at], &[("axis", Attribute::Int(1))])
    }),
    ("an outer product", |net| {
        let (column, row) = (net.ints(&[-1, 1]), net.ints(&[1, -1]));
        let mut value = "x".to_owned();
        for _ in 0..3 {
            let left = net.op("Reshape", &[&value, &column]);
            let right = net.op("Reshape", &[&value, &row]);
            value = net.op("MatMul", &[&left, &right]);
        }
        value
    }),
    ("broadcasting", |net| {
        let (column, row) = (net.ints(&[-1, 1]), net.ints(&[1, -1]));
        let mut value = "x".to_owned();
        for _ in 0..2 {
            let left = net.op("Reshape", &[&value, &column]);
            let right = net.op("Reshape", &[&value, &row]);
            value = net.op("Add", &[&left, &right]);
        }
        value
    }),
    ("doubling", |net| {
        let mut value = "x".to_owned();
        for _ in 0..40 {
            value = net.op_with("Concat", &[&value, &value], &[("axis", Attribute::Int(1))]);
        }
        value
    }),
    ("Einsum", |net| {
        let flat = net.ints(&[-1]);
        let flat = net.op("Reshape", &["x", &flat]);
        net.op_with("Einsum", &[&flat, &flat, &flat], &[("equation", Attribute::Text("i,j,k->ijk"))])
    }),
    ("what lies between the steps of an Einsum", |net| {
        let flat = net.ints(&[-1]);
        let flat = net.op("Reshape", &["x", &flat]);
        net.op_with("Einsum", &[&flat, &flat, &flat], &[("equation", Attribute::Text("i,j,k->i"))])
    }),
    ("a convolution's padding", |net| {
        let weight = net.floats(&[1, 3, 1, 1], &[1.0; 3]);
        let pads = Attribute::Ints(vec![100_000; 4]);
        net.op_with("Conv", &["x", &weight], &[("kernel_shape", Attribute::Ints(vec![1, 1])), ("pads", pads)])
    }),
    ("a transposed convolution's stride", |net| {
        let weight = net.floats(&[3, 1, 1, 1], &[1.0; 3]);
        let strides = ("strides", Attribute::Ints(vec![10_000, 10_000]));
        net.op_with("ConvTranspose", &["x", &weight], &[("kernel_shape", Attribute::Ints(vec![1, 1])), strides])
    }),
    ("a pool's padding", |net| {
        let pads = ("pads", Attribute::Ints(vec![1 << 40; 4]));
        net.op_with("MaxPool", &["x"], &[("kernel_shape", Attribute::Ints(vec![2, 2])), pads])
    }),
    ("many values at once", |net| {
        // 64 of 96 MiB, none of which is done with before the last is made.
        let mut parts = Vec::new();
        for at in 0..64i64 {
            let size = net.ints(&[8 * 1024 + at, 1, 1, 1]);
            parts.push(net.op("Expand", &["x", &size]));
        }
        let axis = net.ints(&[0, 1, 2, 3]);
        let sums: Vec<String> = parts.iter().map(|part| net.op("ReduceSum", &[part, &axis])).collect();
        let sums: Vec<&str> = sums.iter().map(String::as_str).collect();
        net.op_with("Concat", &sums, &[("axis", Attribute::Int(0))])
    }),
    ("work without end", |net| {
        // 64 products of 4096 x 4096: 64 MiB of memory, and 4 · 10¹² multiplications.
        let (size, flat) = (net.ints(&[4096, 4096]), net.ints(&[1, 1]));
        let one = net.op_with("ReduceMean", &["x"], &[("keepdims", Attribute::Int(0))]);
        let one = net.op("Reshape", &[&one, &flat]);
        let mut value = net.op("Expand", &[&one, &size]);
        for _ in 0..64 {
            value = net.op("MatMul", &[&value, &value]);
        }
        value
    }),
    ("a chain that a recursion would follow", |net| {
        let mut value = "x".to_owned();
        for _ in 0..60_000 {
            value = net.op("Relu", &[&value]);
        }
        value
    }),
    ("a chain of constants that a recursion would follow", |net| {
        let mut value = net.floats(&[1], &[1.0]);
        for _ in 0..60_000 {
            value = net.op("Relu", &[&value]);
        }
        value
    }),
    ("a subgraph", |net| {
        // An attribute of the kind graph, with nothing in it.
        let graph = [&[1 << 3 | 2, 4][..], b"body", &[6 << 3 | 2, 0, 0xa0, 1, 5]].concat();
        let (times, more) = (net.int(1 << 40), net.op("Identity", &["x"]));
        net.raw("Loop", &[&times, "", &more], vec![graph])
    }),
    ("a subgraph in another's operator", |net| {
        let graph = [&[1 << 3 | 2, 4][..], b"then", &[6 << 3 | 2, 0, 0xa0, 1, 5]].concat();
        net.raw("Relu", &["x"], vec![graph])
    }),
    ("a value with more dimensions than bytes", |net| {
        let size = net.ints(&[1]);
        let value = tensor_attribute("value", &[1 << 40], 1, &[0; 4]);
        net.raw("ConstantOfShape", &[&size], vec![value])
    }),
    ("an attribute of many numbers", |net| {
        net.op_with("Transpose", &["x"], &[("perm", Attribute::Ints(vec![0; 3 << 20]))])
    }),
    ("a value of many axes", |net| {
        let axes: Vec<i64> = (0..100).collect();
        let axes = net.ints(&axes);
        net.op("Unsqueeze", &["x", &axes])
    }),
    ("an empty product of huge axes, filled again", |net| {
        let empty = net.ints(&[0, 0x7fff_ffff, 0x7fff_ffff]);
        let empty = net.op("ConstantOfShape", &[&empty]);
        let pads = net.ints(&[1, 0, 0, 0, 0, 0]);
        net.op("Pad", &[&empty, &pads])
    }),
];

fn made((_, bomb): &Bomb) -> Made {
    let mut net = Net::new();
    let value = bomb(&mut net);
    net.finish(Some(&value))
}

/// All graphs that are no model.
fn bombs() -> impl Iterator<Item = &'static Bomb> {
    BOMBS.iter().chain(&INFERENCE)
}

/// A field of a message.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    let mut length = content.len();
    while length >= 0x80 {
        out.push(length as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    [out, content.to_vec()].concat()
}

/// Files whose messages claim sizes: nothing is computed, and nothing may be believed.
fn claims() -> Vec<(&'static str, Vec<u8>)> {
    let honest = Net::new().finish(None).bytes;
    // The graph is the file's last field: more fields are added at its end.
    let length = |at: usize| (0..5).fold(0, |length, i| length | usize::from(honest[at + 1 + i] & 0x7f) << (7 * i));
    let is_graph = |at: &usize| honest[*at] == 7 << 3 | 2 && at + 6 + length(*at) == honest.len();
    let at = (0..honest.len() - 6).find(is_graph).expect("the graph");
    let with = |more: Vec<u8>| [&honest[..at], &field(7, &[&honest[at + 6..], &more].concat())].concat();
    let dims = |dims: &[u8], rest: &[u8]| [dims, &[2 << 3, 1], &field(8, b"w")[..], rest].concat();
    let huge: [u8; 9] = [1 << 3, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f];
    vec![
        ("dims that overflow", with(field(5, &dims(&[huge, huge].concat(), &[])))),
        ("fewer bytes than dims", with(field(5, &dims(&[1 << 3, 100], &field(9, &[0; 4]))))),
        ("text", with(field(5, &[&[1 << 3, 1, 2 << 3, 8][..], &field(8, b"w"), &field(6, b"a")].concat()))),
        ("a sparse constant", with(field(15, &field(1, &[])))),
        ("empty nodes", with([1u8 << 3 | 2, 0].repeat(4 << 20))),
        ("a node of empty names", with(field(1, &[1u8 << 3 | 2, 0].repeat(4 << 20)))),
        ("empty constants", with([5u8 << 3 | 2, 0].repeat(4 << 20))),
        ("a constant of many axes", with(field(5, &dims(&field(1, &vec![1u8; 4 << 20]), &[])))),
        ("an input of empty shapes", with(field(11, &field(2, &field(1, &[2u8 << 3 | 2, 0].repeat(16 << 20)))))),
        ("an input of empty types", with(field(11, &[2u8 << 3 | 2, 0].repeat(16 << 20)))),
        ("attributes that hold nothing", with(field(1, &field(5, &[8u8 << 3 | 2, 0].repeat(16 << 20))))),
        ("a node of many names", with(field(1, &[3u8 << 3 | 2, 0].repeat(16 << 20)))),
        ("a constant in many pieces", with(field(5, &dims(&[1 << 3, 1], &[7u8 << 3, 0].repeat(4 << 20))))),
    ]
}

/// Runs `bundle build` on a model.
fn build(folder: &Path, onnx: &[u8], out: &Path) -> std::process::Output {
    let (model, weights) = (folder.join("model.json"), folder.join("model.onnx"));
    fs::write(&model, MODEL).unwrap();
    fs::write(&weights, onnx).unwrap();
    let tiles = tiles(folder);
    coverslip(&[
        "bundle",
        "build",
        "--weights",
        text(&weights),
        "--model",
        text(&model),
        "--tiles",
        text(&tiles),
        "--out",
        text(out),
    ])
}

/// An honest bundle, and copies of it with another graph.
struct Bundles {
    scratch: Scratch,
}

impl Bundles {
    fn new() -> Bundles {
        let scratch = Scratch::new("bombs");
        let built = build(scratch.path(), &Net::new().finish(None).bytes, &scratch.join("honest"));
        assert_done("an honest model is built in 1 GiB", &built);
        Bundles { scratch }
    }

    fn honest(&self) -> PathBuf {
        self.scratch.join("honest")
    }

    /// A bundle with this graph, whose manifest says so.
    fn with(&self, onnx: &[u8], parameters: Option<usize>) -> PathBuf {
        let folder = self.scratch.join("bomb");
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir(&folder).unwrap();
        for file in fs::read_dir(self.honest()).unwrap() {
            let file = file.unwrap().path();
            fs::copy(&file, folder.join(file.file_name().unwrap())).unwrap();
        }
        fs::write(folder.join("model.onnx"), onnx).unwrap();
        let path = folder.join("manifest.json");
        let mut manifest: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        manifest["files"]["model.onnx"] = json!({ "bytes": onnx.len(), "sha256": Digest::of(onnx).to_string() });
        if let Some(parameters) = parameters {
            manifest["architecture"]["parameters"] = json!(parameters);
        }
        fs::write(&path, manifest.to_string()).unwrap();
        folder
    }
}

#[test]
fn a_model_that_computes_a_size_is_refused_at_import() {
    let scratch = Scratch::new("bombs");
    for bomb in bombs() {
        let output = build(scratch.path(), &made(bomb).bytes, &scratch.join("out"));
        assert_refused(bomb.0, &output);
        assert!(!scratch.join("out").exists(), "{}", bomb.0);
    }
    for (what, bytes) in claims() {
        assert_refused(what, &build(scratch.path(), &bytes, &scratch.join("out")));
    }
}

/// The importer writes a cubic interpolation as two matrices, whose sizes are those of two axes.
#[test]
fn an_interpolation_between_two_cheap_axes_is_refused_at_import() {
    let scratch = Scratch::new("bombs");
    for (what, widths) in [("one", &[150_528, 150_528][..]), ("two that are too many together", &[3072, 3072])] {
        let mut net = Net::new();
        let row = net.ints(&[-1, 1, 1, 3072]);
        let mut value = net.op("Reshape", &["x", &row]);
        for width in widths {
            let size = net.ints(&[1, 1, 1, *width]);
            value = net.op_with("Resize", &[&value, "", "", &size], &[("mode", Attribute::Text("cubic"))]);
        }
        let output = build(scratch.path(), &net.finish(Some(&value)).bytes, &scratch.join("out"));
        assert_refused(what, &output);
        assert!(String::from_utf8_lossy(&output.stderr).contains("a cubic Resize from 1 × 3072 to"), "{what}");
    }
}

#[test]
fn the_values_of_a_model_that_computes_a_size_are_not_listed() {
    let scratch = Scratch::new("bombs");
    let path = scratch.join("model.onnx");
    for bomb in BOMBS.iter().filter(|bomb| ["a size from Shape", "Range", "doubling"].contains(&bomb.0)) {
        fs::write(&path, made(bomb).bytes).unwrap();
        // Inspecting says what is in the file, and why the rest is not known.
        let output = coverslip(&["bundle", "inspect", text(&path)]);
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code().is_some_and(|code| code <= 1), "{}: {said}", bomb.0);
        assert!(!said.contains("panicked") && !said.contains("abort"), "{}: {said}", bomb.0);
    }
}

#[test]
fn a_bundle_that_computes_a_size_is_refused_at_open() {
    let bundles = Bundles::new();
    let Some(host) = Host::build(&bundles.scratch) else { return };
    assert_done("an honest bundle is verified in 1 GiB", &coverslip(&["bundle", "verify", text(&bundles.honest())]));
    host.opens(&bundles.honest());
    for bomb in bombs() {
        let made = made(bomb);
        let folder = bundles.with(&made.bytes, Some(made.parameters));
        assert_refused(bomb.0, &coverslip(&["bundle", "verify", text(&folder)]));
        host.refuses(bomb.0, &folder, None);
    }
    // Within the budget, but more than there is here.
    let mut net = Net::new();
    let size = net.ints(&[60_000, 3, 32, 32]);
    // In batches of any number of tiles.
    let one = net.op_with("ReduceMean", &["x"], &[("keepdims", Attribute::Int(0))]);
    let value = net.op("Expand", &[&one, &size]);
    let made = net.finish(Some(&value));
    let folder = bundles.with(&made.bytes, Some(made.parameters));
    assert_refused("more than there is", &coverslip(&["bundle", "verify", text(&folder)]));
    host.lacks_memory("more than there is", &folder);
    for (what, bytes) in claims() {
        let folder = bundles.with(&bytes, None);
        assert_refused(what, &coverslip(&["bundle", "verify", text(&folder)]));
        host.refuses(what, &folder, None);
    }
}
