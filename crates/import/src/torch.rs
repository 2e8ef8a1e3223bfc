//! Checkpoints of torch ≥ 1.6 (`.pt`, `.pth`, `.bin`, `.ckpt`): a zip of one pickle and the tensors' storages,
//! uncompressed. Nothing in the pickle is executed (see [`super::pickle`]). The few calls that make tensors, dicts and
//! modules are interpreted here; every other call stays recorded. Tensors are not read: each becomes its place in the
//! file.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::path::Path;

use super::pickle::{self, Object, Value};
use super::zip::{CONVERT, Zip};
use coverslip_bundle::tensors::Element;
use coverslip_bundle::{BundleError, BundleErrorKind, fail};

/// Longest full name of a tensor, bytes.
const MAX_NAME: usize = 1024;
/// Most elements of a tensor that is larger than its storage (expanded, stride 0).
const MAX_EXPANDED: u64 = 1 << 24;

/// A checkpoint's content, without its tensors' bytes.
#[derive(Debug)]
pub(crate) struct TorchFile {
    /// The value that torch.load would return.
    pub(crate) root: Node,
    tensors: Vec<(String, TensorRef)>,
}

/// One part of a checkpoint.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Node {
    /// A tensor or parameter of a type that [`Element`] has; any other is `Opaque`.
    Tensor(TensorRef),
    /// A dict, or a module as its state_dict with its plain attributes (`k: 32`). Keys are unique; keys that are not
    /// text are converted to text.
    Map(Vec<(String, Node)>),
    /// A list or tuple.
    List(Vec<Node>),
    /// A number, text, None, or the name of a class or dtype.
    Leaf(Value),
    /// Any other object: the recorded call, its arguments, and the object's attributes or items.
    Opaque { class: String, args: Value, content: Box<Node> },
}

/// A tensor's place in the file. All elements were checked to be inside the storage, and the storage inside the file;
/// arithmetic with shape and strides cannot overflow.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct TensorRef {
    /// The element type; booleans are U8.
    pub(crate) element: Element,
    /// The shape; empty for a scalar.
    pub(crate) shape: Vec<usize>,
    /// Strides in elements; not row-major if the tensor was transposed or sliced.
    pub(crate) strides: Vec<usize>,
    /// Offset of the first element, bytes from the file's start.
    pub(crate) offset: u64,
}

/// Reads the checkpoint at `path` without its tensors' bytes and without executing anything.
///
/// # Errors
/// `Missing`, `Io`, `Truncated`, `Invalid`, `TooLarge`; `Unsupported` for older checkpoints, joblib, TorchScript,
/// big-endian and compressed files.
pub(crate) fn open(path: &Path) -> Result<TorchFile, BundleError> {
    let file = coverslip_files::open(path).map_err(|error| BundleError::io(path.display(), &error))?;
    read(file).map_err(|error| error.within(path.display()))
}

fn read(file: File) -> Result<TorchFile, BundleError> {
    let mut zip = Zip::open(file)?;
    let mut pickles = zip.entries.keys().filter(|name| name.matches('/').count() == 1 && name.ends_with("/data.pkl"));
    let (Some(found), None) = (pickles.next(), pickles.next()) else {
        fail!(Unsupported, "found a zip without exactly one data.pkl, expected a checkpoint of torch.save; {CONVERT}");
    };
    let name = found.trim_end_matches("data.pkl").to_owned();
    let script = ["code/", "constants.pkl"].map(|part| format!("{name}{part}"));
    if zip.entries.keys().any(|entry| script.iter().any(|start| entry.starts_with(start))) {
        fail!(
            Unsupported,
            "TorchScript: not supported in this version; save the module's state_dict() with torch.save"
        );
    }
    let order = format!("{name}byteorder");
    if zip.entries.contains_key(&order) && zip.content(&order)? != b"little" {
        fail!(Unsupported, "its byteorder is not little-endian: not supported in this version; {CONVERT}");
    }
    let root = pickle::parse(&zip.content(&format!("{name}data.pkl"))?)?;
    let root = Reader { zip, name }.node(root)?;
    let mut tensors = BTreeMap::new();
    collect(&root, &mut Vec::new(), &mut tensors)?;
    Ok(TorchFile { root, tensors: tensors.into_iter().collect() })
}

impl TorchFile {
    /// All tensors, sorted by name. A name is the path of keys, list positions and attributes, joined with `.`.
    pub(crate) fn tensors(&self) -> Vec<(String, TensorRef)> {
        self.tensors.clone()
    }

    /// What the first call names that makes no tensor, dict or module.
    pub(crate) fn call(&self) -> Option<&str> {
        self.root.call()
    }

    /// The node at `path`: keys of dicts, positions in lists, names of attributes.
    pub(crate) fn value(&self, path: &[&str]) -> Option<&Node> {
        path.iter().try_fold(&self.root, |node, key| node.get(key))
    }
}

impl Node {
    fn call(&self) -> Option<&str> {
        match self {
            Self::Opaque { class, .. } => Some(class),
            Self::Map(items) => items.iter().find_map(|(_, node)| node.call()),
            Self::List(items) => items.iter().find_map(Self::call),
            Self::Tensor(_) | Self::Leaf(_) => None,
        }
    }

    /// The child named `key`.
    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        match self {
            Self::Map(items) => items.iter().find_map(|(name, node)| (name == key).then_some(node)),
            Self::List(items) => items.get(key.parse::<usize>().ok()?),
            Self::Opaque { content, .. } => content.get(key),
            Self::Tensor(_) | Self::Leaf(_) => None,
        }
    }
}

/// Adds the tensors at and below `node`, whose path is `path`.
fn collect(node: &Node, path: &mut Vec<String>, found: &mut BTreeMap<String, TensorRef>) -> Result<(), BundleError> {
    let mut below = |key: String, node: &Node| {
        path.push(key);
        collect(node, path, found)?;
        path.pop();
        Ok(())
    };
    match node {
        Node::Map(items) => items.iter().try_for_each(|(key, node)| below(key.clone(), node)),
        Node::List(items) => items.iter().enumerate().try_for_each(|(at, node)| below(at.to_string(), node)),
        Node::Opaque { content, .. } => collect(content, path, found),
        Node::Leaf(_) => Ok(()),
        Node::Tensor(tensor) => {
            // A long key would be repeated in the names of all tensors below it.
            if path.iter().map(|key| key.len() + 1).sum::<usize>() > MAX_NAME {
                fail!(TooLarge, "a tensor's name is longer than {MAX_NAME} bytes; rename it and save the file again");
            }
            let name = path.join(".");
            if found.contains_key(&name) {
                fail!(Invalid, "two tensors are called `{name}`, expected one; rename one and save the file again");
            }
            found.insert(name, tensor.clone());
            Ok(())
        }
    }
}

/// Turns pickled values into nodes.
struct Reader {
    zip: Zip,
    /// The common prefix of all names in the zip.
    name: String,
}

impl Reader {
    fn node(&mut self, value: Value) -> Result<Node, BundleError> {
        Ok(match value {
            Value::Dict(items) => self.map(items)?,
            Value::List(items) | Value::Tuple(items) => {
                Node::List(items.into_iter().map(|item| self.node(item)).collect::<Result<_, _>>()?)
            }
            Value::Object(object) => self.object(*object)?,
            leaf => Node::Leaf(leaf),
        })
    }

    /// Converts a dict. Keys that are neither text nor numbers are named by their position, `#0`.
    fn map(&mut self, items: Vec<(Value, Value)>) -> Result<Node, BundleError> {
        let mut names = HashSet::new();
        let mut nodes = Vec::with_capacity(items.len());
        for (at, (key, value)) in items.into_iter().enumerate() {
            let name = match key {
                Value::Text(text) => text,
                Value::Int(number) => number.to_string(),
                Value::Float(number) => number.to_string(),
                Value::Bool(truth) => truth.to_string(),
                _ => format!("#{at}"),
            };
            if !names.insert(name.clone()) {
                fail!(Invalid, "a dict has two entries `{name}`, expected one; {CONVERT}");
            }
            nodes.push((name, self.node(value)?));
        }
        Ok(Node::Map(nodes))
    }

    /// Interprets the calls by which torch and Python make tensors, dicts and modules.
    fn object(&mut self, object: Object) -> Result<Node, BundleError> {
        let Object { class, args, items, state } = object;
        Ok(match (class.as_str(), args, state) {
            ("torch._utils._rebuild_tensor" | "torch._utils._rebuild_tensor_v2", Value::Tuple(args), _) => {
                self.tensor(&args, None)?
            }
            ("torch._utils._rebuild_tensor_v3", Value::Tuple(args), _) => self.tensor(&args, args.get(6))?,
            (
                "torch._utils._rebuild_parameter" | "torch._utils._rebuild_parameter_with_state",
                Value::Tuple(mut args),
                _,
            ) if !args.is_empty() => self.node(args.swap_remove(0))?,
            ("torch._tensor._rebuild_from_type_v2", Value::Tuple(args), state) => match <[Value; 4]>::try_from(args) {
                Ok([Value::Global(class), _, args, _]) => self.object(Object { class, args, items, state })?,
                _ => return Err(unlike("a tensor of a class of its own")),
            },
            ("collections.OrderedDict" | "collections.defaultdict", _, _) => self.map(items)?,
            (_, _, Value::Dict(state)) if state.iter().any(|(key, _)| is(key, "_parameters")) => self.module(state)?,
            (_, args, state) => {
                let content = if items.is_empty() { self.node(state)? } else { self.map(items)? };
                Node::Opaque { class, args, content: Box::new(content) }
            }
        })
    }

    /// Converts a module to its state_dict (parameters, persistent buffers, submodules) and its plain attributes.
    fn module(&mut self, state: Vec<(Value, Value)>) -> Result<Node, BundleError> {
        let passing = state.iter().find(|(key, _)| is(key, "_non_persistent_buffers_set"));
        let passing = passing.map_or(&[][..], |(_, set)| members(set)).iter().filter_map(text_of);
        let passing: HashSet<String> = passing.map(str::to_owned).collect();
        let mut all = Vec::new();
        for (key, value) in state {
            let Value::Text(key) = key else { continue };
            match key.as_str() {
                "_parameters" | "_buffers" | "_modules" => {
                    let Node::Map(mut nodes) = self.node(value)? else {
                        return Err(unlike("a module"));
                    };
                    nodes.retain(|(name, node)| {
                        *node != Node::Leaf(Value::None) && !(key == "_buffers" && passing.contains(name))
                    });
                    all.append(&mut nodes);
                }
                name if name.starts_with('_') => {}
                _ if matches!(value, Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Text(_)) => {
                    all.push((key, Node::Leaf(value)));
                }
                _ => {}
            }
        }
        Ok(Node::Map(all))
    }

    /// Interprets `_rebuild_tensor(storage, offset, size, stride, …)`. A `dtype` overrides the storage's type.
    fn tensor(&mut self, args: &[Value], dtype: Option<&Value>) -> Result<Node, BundleError> {
        let [Value::Persistent(storage), Value::Int(first), Value::Tuple(shape), Value::Tuple(strides), ..] = args
        else {
            return Err(unlike("a tensor"));
        };
        let Value::Tuple(storage) = &**storage else { return Err(unlike("a storage")) };
        let [_, Value::Global(class), Value::Text(key), ..] = &storage[..] else {
            return Err(unlike("a storage"));
        };
        let class = if let Some(Value::Global(dtype)) = dtype { dtype } else { class };
        let Some(element) = element(class) else {
            let content = Box::new(Node::Leaf(Value::None));
            return Ok(Node::Opaque { class: class.clone(), args: Value::Tuple(args.to_vec()), content });
        };
        let (start, length) = self.zip.locate(&format!("{}data/{key}", self.name))?;
        let (shape, strides, first) = (sizes(shape)?, sizes(strides)?, sizes(&[Value::Int(*first)])?[0]);
        let held = length / element.size() as u64;
        if !fits(&shape, &strides, first, held) {
            fail!(
                Invalid,
                "storage {key} has {held} elements, too few for {element:?} {shape:?} with strides {strides:?} from \
                 element {first}; copy or save the file again"
            );
        }
        let offset = start + (first as u64).min(held) * element.size() as u64;
        Ok(Node::Tensor(TensorRef { element, shape, strides, offset }))
    }
}

/// The element type named by a storage's class or a dtype.
fn element(class: &str) -> Option<Element> {
    Some(match class.rsplit('.').next()? {
        "DoubleStorage" | "float64" => Element::F64,
        "FloatStorage" | "float32" => Element::F32,
        "HalfStorage" | "float16" => Element::F16,
        "BFloat16Storage" | "bfloat16" => Element::Bf16,
        "LongStorage" | "int64" => Element::I64,
        "IntStorage" | "int32" => Element::I32,
        "ByteStorage" | "BoolStorage" | "UntypedStorage" | "uint8" | "bool" => Element::U8,
        _ => return None,
    })
}

/// Whether a tensor fits into a storage of `held` elements.
fn fits(shape: &[usize], strides: &[usize], first: usize, held: u64) -> bool {
    let elements = shape.iter().try_fold(1, |product: usize, side| product.checked_mul((*side).max(1)));
    let mut steps = shape.iter().zip(strides);
    let last = steps.try_fold(first, |at, (side, stride)| at.checked_add(side.saturating_sub(1).checked_mul(*stride)?));
    let (Some(elements), Some(last)) = (elements, last) else { return false };
    // A tensor can be larger than its storage (expanded, stride 0), but a file may not claim any size.
    shape.len() == strides.len()
        && elements as u64 <= held.max(MAX_EXPANDED)
        && (shape.contains(&0) || (last as u64) < held)
}

/// Whether a key is the text `name`.
fn is(key: &Value, name: &str) -> bool {
    text_of(key) == Some(name)
}

fn text_of(value: &Value) -> Option<&str> {
    if let Value::Text(text) = value { Some(text) } else { None }
}

/// A set's members. Before protocol 4 a set is pickled as a call of `set` with a list.
fn members(set: &Value) -> &[Value] {
    match set {
        Value::List(members) => members,
        Value::Object(call) => match &call.args {
            Value::Tuple(args) => args.first().map_or(&[], members),
            _ => &[],
        },
        _ => &[],
    }
}

/// Sizes or strides; torch has at most 64 dimensions.
fn sizes(values: &[Value]) -> Result<Vec<usize>, BundleError> {
    let size = |value: &Value| if let Value::Int(size) = value { usize::try_from(*size).ok() } else { None };
    let sizes: Option<Vec<usize>> = values.iter().map(size).collect();
    sizes.filter(|sizes| sizes.len() <= 64).ok_or_else(|| unlike("a tensor's size"))
}

/// The error for a known call with unexpected arguments.
fn unlike(what: &str) -> BundleError {
    let message = format!("{what} is not saved in the form that torch.save writes; {CONVERT}");
    BundleError::new(BundleErrorKind::Unsupported, message)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use coverslip_bundle::tensors::StoredTensor;

    fn golden(name: &str) -> PathBuf {
        Path::new("tests/golden/torch").join(name)
    }

    /// The values of `tensor` in row-major order.
    fn values(file: &[u8], tensor: &TensorRef) -> Vec<f32> {
        let mut places = vec![0];
        for (side, stride) in tensor.shape.iter().zip(&tensor.strides) {
            places = places.iter().flat_map(|at| (0..*side).map(move |step| at + step * stride)).collect();
        }
        let decode = |place: usize| {
            let bytes = &file[tensor.offset as usize + place * tensor.element.size()..][..tensor.element.size()];
            match tensor.element {
                Element::U8 | Element::I32 | Element::I64 => f32::from(bytes[0]),
                element => StoredTensor { name: "", element, shape: &[], bytes }.to_f32().unwrap()[0],
            }
        };
        places.into_iter().map(decode).collect()
    }

    fn check(name: &str, expected: &str) -> TorchFile {
        let (file, bytes) = (open(&golden(name)).unwrap(), std::fs::read(golden(name)).unwrap());
        let expected: serde_json::Value = serde_json::from_slice(&std::fs::read(golden(expected)).unwrap()).unwrap();
        let found = file.tensors().into_iter().map(|(name, tensor)| {
            let (element, shape) = (format!("{:?}", tensor.element), &tensor.shape);
            (name, serde_json::json!({ "element": element, "shape": shape, "values": values(&bytes, &tensor) }))
        });
        assert_eq!(serde_json::Value::Object(found.collect()), expected, "{name}");
        file
    }

    #[test]
    fn tensors_have_the_values_that_torch_loads() {
        for name in ["checkpoint.pt", "protocol4.pt"] {
            let file = check(name, "checkpoint.json");
            let leaf = |path: &[&str]| match file.value(path) {
                Some(Node::Leaf(value)) => value.clone(),
                other => panic!("{path:?}: {other:?}"),
            };
            let text = |text: &str| Value::Text(text.to_owned());
            assert_eq!(leaf(&["activation"]), text("TopK"));
            assert_eq!(leaf(&["activation_state_dict", "k"]), Value::Int(32));
            assert_eq!(leaf(&["history", "1", "1"]), text("ä"));
            assert_eq!(leaf(&["args", "k"]), Value::Int(64));
            assert_eq!(leaf(&["mixed", "1.5"]), text("x"));
            assert_eq!(leaf(&["dtype"]), Value::Global("torch.bfloat16".to_owned()));
            assert_eq!(leaf(&["wide"]), Value::Int(1 << 40));
            for (key, expected) in [("size", "torch.Size"), ("device", "torch.device"), ("unsigned", "torch.uint16")] {
                let found = file.value(&[key]);
                assert!(matches!(found, Some(Node::Opaque { class, .. }) if class == expected), "{found:?}");
            }
            assert_eq!(file.value(&["model", "none"]), None);
        }
    }

    #[test]
    fn a_whole_module_reads_as_its_state_dict() {
        let file = check("module.pt", "module.json");
        assert_eq!(file.value(&["k"]), Some(&Node::Leaf(Value::Int(32))));
    }

    #[test]
    fn other_formats_are_refused_by_name() {
        let others = [
            ("legacy.pt", "torch before 1.6"),
            ("script.pt", "TorchScript"),
            ("joblib.bin", "joblib"),
            ("deflated.pt", "compressed"),
            ("big_endian.pt", "byteorder"),
            ("plain4.pkl", "plain pickle"),
            ("checkpoint.json", "not a zip"),
        ];
        for (name, word) in others {
            let error = open(&golden(name)).unwrap_err();
            assert!(error.kind() == BundleErrorKind::Unsupported && error.message().contains(word), "{error}");
        }
        assert_eq!(open(&golden("absent.pt")).unwrap_err().kind(), BundleErrorKind::Missing);
    }

    #[test]
    fn cuts_and_flips_never_panic() {
        let (folder, bytes) = (coverslip_testkit::Scratch::new("test"), std::fs::read(golden("small.pt")).unwrap());
        let path = folder.path().join("damaged.pt");
        let damaged = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            open(&path)
        };
        for cut in 0..bytes.len() {
            assert!(damaged(&bytes[..cut]).is_err(), "{cut}");
        }
        let mut state = 1u64;
        for _ in 0..4000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let (at, bit) = ((state >> 33) as usize % bytes.len(), state >> 61);
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << bit;
            for (_, tensor) in damaged(&flipped).iter().flat_map(TorchFile::tensors) {
                values(&flipped, &tensor); // panics if an element is outside the file
            }
        }
    }
}
