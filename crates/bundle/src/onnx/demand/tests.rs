use super::*;
use crate::error::BundleErrorKind;
use crate::onnx::{Attribute, DataType, Dim, ModelWriter, Placement};

/// A graph under construction, on `x` [tiles, 3, 8, 8].
struct Net(ModelWriter);

impl Net {
    fn new() -> Net {
        let mut writer = ModelWriter::new("test", 18, 0, Placement::Inside).unwrap();
        writer.input("x", DataType::Float, &[Dim::Batch, Dim::Fixed(3), Dim::Fixed(8), Dim::Fixed(8)]);
        Net(writer)
    }

    fn ints(mut self, name: &str, values: &[i64]) -> Net {
        self.0.ints(name, &[values.len()], values);
        self
    }

    fn op(mut self, name: &str, op: &str, inputs: &[&str]) -> Net {
        self.0.node(op, name, inputs, &[name], &[]);
        self
    }

    fn demand(mut self, output: &str, tiles: usize) -> Result<(Demand, HashMap<String, Vec<usize>>), BundleError> {
        self.0.output(output, DataType::Float, &[]);
        let bytes = self.0.finish().unwrap().0;
        inferred(&Model::read(&bytes).unwrap(), ("x", &[tiles, 3, 8, 8]), tiles)
    }
}

fn sized(times: &[i64]) -> Net {
    Net::new().ints("times", times).op("s", "Shape", &["x"]).op("size", "Mul", &["s", "times"])
}

#[test]
fn a_size_that_is_computed_from_shape_is_known() {
    let (demand, shapes) = sized(&[1, 2, 1, 3]).op("y", "ConstantOfShape", &["size"]).demand("y", 2).unwrap();
    assert_eq!(shapes["y"], [2, 6, 8, 24]);
    // The image, the value, and three copies of each at most.
    let (image, value) = (2 * 3 * 8 * 8 * 4, 2 * 6 * 8 * 24 * 4);
    assert!((image + value..=4 * (image + value) + 1024).contains(&demand.bytes), "{demand:?}");
}

#[test]
fn a_value_beyond_the_budget_is_named() {
    let error = sized(&[1, 1000, 1000, 1000]).op("y", "ConstantOfShape", &["size"]).demand("y", 1).unwrap_err();
    assert_eq!(error.kind(), BundleErrorKind::TooLarge);
    assert!(error.to_string().contains("`y` (ConstantOfShape)"), "{error}");
}

#[test]
fn a_size_that_depends_on_pixels_is_refused_by_name() {
    let net = Net::new().op("most", "ReduceMax", &["x"]).op("z", "Expand", &["x", "most"]);
    let error = net.demand("z", 1).unwrap_err();
    assert_eq!(error.kind(), BundleErrorKind::Unsupported);
    assert!(error.to_string().contains("`z` (Expand)"), "{error}");
    // What only moves elements has no more than before.
    let net = Net::new().op("found", "NonZero", &["x"]).op("n", "Shape", &["found"]).op("y", "Reshape", &["x", "n"]);
    assert!(net.demand("y", 1).is_ok());
}

#[test]
fn integers_beyond_32_bits_are_not_followed() {
    let net = Net::new().ints("a", &[1 << 16]).op("b", "Mul", &["a", "a"]).op("y", "ConstantOfShape", &["b"]);
    assert_eq!(net.demand("y", 1).unwrap_err().kind(), BundleErrorKind::Unsupported);
}

#[test]
fn the_budget_grows_with_the_weights_and_the_batch() {
    let (small, large) = (Budget::of(1 << 10, 1), Budget::of(1 << 30, 1));
    assert_eq!(
        (large.bytes - small.bytes, large.work - small.work),
        (16 * ((1 << 30) - (1 << 10)), (1 << 42) - (1 << 22))
    );
    assert_eq!(Budget::of(1 << 10, 8).bytes, 8 * small.bytes);
    assert_eq!(Budget::of(u64::MAX, 8).bytes, u64::MAX);
}

#[test]
fn a_batch_that_a_graph_multiplies_with_itself_is_bounded_for_that_batch() {
    let net = || {
        let mut net = Net::new().op("s", "Shape", &["x"]);
        net.0.ints("zero", &[], &[0]);
        net = net.op("n", "Gather", &["s", "zero"]);
        for power in 0..4 {
            let (from, to) = (if power == 0 { "n".to_owned() } else { format!("n{power}") }, format!("n{}", power + 1));
            net = net.op(&to, "Mul", &[&from, &from]);
        }
        net.0.ints("axis", &[1], &[0]);
        net.op("size", "Unsqueeze", &["n4", "axis"]).op("y", "Expand", &["size", "size"])
    };
    assert!(net().demand("y", 1).is_ok());
    assert_eq!(net().demand("y", 8).unwrap_err().kind(), BundleErrorKind::Unsupported, "8¹⁶ is beyond 32 bits");
    assert_eq!(net().demand("y", 3).unwrap().1["y"], [43_046_721]);
}

/// The engine adds the step once more after the last number, in 32 bits.
#[test]
fn a_range_ends_before_its_counter_wraps() {
    let counted = |limit: i32, step: i32| {
        let mut net = Net::new();
        for (name, value) in [("from", 0), ("to", limit), ("step", step)] {
            net.0.ints(name, &[], &[value.into()]);
        }
        net.op("r", "Range", &["from", "to", "step"]).demand("r", 1)
    };
    assert_eq!(counted(i32::MAX, i32::MAX).unwrap().1["r"], [1]);
    assert_eq!(counted(i32::MIN, -(1 << 30)).unwrap().1["r"], [2]);
    for (limit, step) in [(i32::MAX, 1 << 30), (i32::MIN, i32::MIN + 1)] {
        let error = counted(limit, step).unwrap_err();
        assert_eq!(error.kind(), BundleErrorKind::Invalid);
        assert!(error.to_string().contains("`r` (Range)"), "{error}");
    }
}

#[test]
fn an_attribute_counts_as_the_engine_reads_it() {
    use Attribute::{Int, Ints, Text};
    let shape = |op: &str, inputs: &[&str], outputs: &[&str], attributes: &[(&str, Attribute)]| {
        let mut net = Net::new().ints("one", &[1]).ints("none", &[0]);
        net.0.floats("w", &[1, 3, 1, 1], &[0.0; 3]);
        net.0.node(op, "y", inputs, outputs, attributes);
        net.demand("y", 2).map(|(_, mut shapes)| shapes.remove("y").unwrap())
    };
    let padded = [("auto_pad", Text("VALID")), ("pads", Ints(vec![1; 4]))];
    assert_eq!(shape("Conv", &["x", "w"], &["y"], &padded).unwrap(), [2, 1, 10, 10]);
    let sliced = shape("Slice", &["x", "none", "one"], &["y"], &[("axes", Ints(vec![1]))]);
    assert_eq!(sliced.unwrap(), [2, 1, 8, 8]);
    let parts = [("axis", Int(1)), ("split", Ints(vec![2, 1]))];
    assert_eq!(shape("Split", &["x"], &["y", "z"], &parts).unwrap(), [2, 2, 8, 8]);
    assert_eq!(shape("ReduceSum", &["x", "one"], &["y"], &[("keepdims", Int(2))]).unwrap(), [2, 1, 8, 8]);
    let refused = [
        shape("Split", &["x"], &["y", "z"], &[("axis", Int(2)), ("num_outputs", Int(1))]),
        shape("Flatten", &["x"], &["y"], &[("axis", Ints(vec![1]))]),
    ];
    assert!(refused.iter().all(|found| found.as_ref().is_err_and(|e| e.kind() == BundleErrorKind::Invalid)));
}

#[test]
fn a_number_that_is_none_stays_none() {
    let mut net = Net::new();
    for (name, value) in [("zero", 0.0), ("five", 5.0)] {
        net.0.floats(name, &[1], &[value]);
    }
    net = net.op("nan", "Div", &["zero", "zero"]).op("least", "Min", &["nan", "five"]);
    // The engine takes it for 0.
    net.0.node("Cast", "n", &["least"], &["n"], &[("to", Attribute::Int(7))]);
    let (_, shapes) = net.op("y", "ConstantOfShape", &["n"]).demand("y", 1).unwrap();
    assert_eq!(shapes["y"], [0]);
}

impl Net {
    /// Adds a node with attributes.
    fn with(mut self, name: &str, op: &str, inputs: &[&str], attributes: &[(&str, Attribute)]) -> Net {
        self.0.node(op, name, inputs, &[name], attributes);
        self
    }

    /// What the inference itself takes: steps, and numbers that it keeps.
    fn spent(mut self, output: &str) -> (u64, u64) {
        self.0.output(output, DataType::Float, &[]);
        let bytes = self.0.finish().unwrap().0;
        let model = Model::read(&bytes).unwrap();
        walked(&model, ("x", &[1, 3, 8, 8]), 1).unwrap().0.spent()
    }

    #[track_caller]
    fn refused(self, output: &str, kind: BundleErrorKind, words: &str) {
        let error = self.demand(output, 1).unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(words) && error.to_string().len() < 1000, "{error}");
    }
}

#[test]
fn vectors_are_not_put_together_beyond_what_is_followed() {
    let net = Net::new().ints("c", &[1; 4096]).op("all", "Concat", &["c"; 3000]).op("y", "Reshape", &["x", "all"]);
    let (steps, numbers) = net.spent("y");
    assert!(steps < 50_000, "{steps}");
    assert_eq!(numbers, 4096, "those of the constant");
    // Small ones are.
    let net = Net::new().ints("c", &[3, 8]).op("all", "Concat", &["c", "c"]).op("y", "ConstantOfShape", &["all"]);
    assert_eq!(net.demand("y", 1).unwrap().1["y"], [3, 8, 3, 8]);
}

#[test]
fn the_numbers_of_all_values_together_are_bounded() {
    let copies = |last: &str| {
        let mut net = Net::new().ints("c", &[1; 4096]);
        let names: Vec<String> = (0..300).map(|at| format!("c{at}")).collect();
        for name in &names {
            net = net.op(name, "Abs", &["c"]);
        }
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        net.op("all", "Concat", &names).op("y", last, &["x", "all"])
    };
    copies("Reshape").refused(
        "y",
        BundleErrorKind::TooLarge,
        "sizes from more than 1048576 numbers, reached at `c255` (Abs)",
    );
    // No size is computed from these.
    let mut net = Net::new().ints("c", &[1; 4096]);
    for at in 0..300 {
        net = net.op(&format!("c{at}"), "Abs", &["c"]);
    }
    assert_eq!(net.op("y", "Abs", &["x"]).spent("y").1, 0);
}

#[test]
fn no_list_of_axes_is_longer_than_an_engine_takes() {
    use BundleErrorKind::Invalid;
    let many: Vec<i64> = (0..100_000).collect();
    let words = "expected at most 32";
    for op in ["Unsqueeze", "Squeeze", "ReduceMean"] {
        Net::new().with("y", op, &["x"], &[("axes", Attribute::Ints(many.clone()))]).refused("y", Invalid, words);
        Net::new().ints("at", &many[..4096]).op("y", op, &["x", "at"]).refused("y", Invalid, words);
    }
    let perm = Net::new().with("y", "Transpose", &["x"], &[("perm", Attribute::Ints(many.clone()))]);
    perm.refused("y", Invalid, "an order of 100000 axes");
    for op in ["Reshape", "Expand", "Tile"] {
        Net::new().ints("size", &[1; 4096]).op("y", op, &["x", "size"]).refused("y", Invalid, words);
    }
    Net::new().ints("size", &[1; 4096]).op("y", "ConstantOfShape", &["size"]).refused("y", Invalid, words);
    let axes = Net::new().ints("all", &[0; 4096]).op("y", "Pad", &["x", "all", "", "all"]);
    axes.refused("y", Invalid, words);
    let again = Net::new().ints("all", &[0; 4096]).op("y", "Slice", &["x", "all", "all", "all"]);
    again.refused("y", Invalid, words);
    let pool = Net::new().with("y", "MaxPool", &["x"], &[("kernel_shape", Attribute::Ints(vec![1; 4096]))]);
    pool.refused("y", Invalid, words);
    let long = Attribute::Text(Box::leak(format!("abcd->{}", "a".repeat(4096)).into_boxed_str()));
    Net::new().with("y", "Einsum", &["x"], &[("equation", long)]).refused("y", Invalid, "expected at most 1024");
}

#[test]
fn a_walk_ends_whatever_its_rules_read() {
    // A vector's numbers are read for each of the parts that it is split into.
    let mut net = Net::new().ints("c", &[1; 4096]);
    let parts: Vec<String> = (0..9000).map(|at| format!("p{at}")).collect();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let sizes = (0..9000).map(|at| if at == 0 { 4096 } else { 0 }).collect();
    net.0.node("Split", "parts", &["c"], &parts, &[("split", Attribute::Ints(sizes))]);
    let net = net.op("y", "Reshape", &["x", "p0"]);
    net.refused("y", BundleErrorKind::TooLarge, "takes more than 33554432 steps, reached at `p0` (Split)");
    // An element is found along each of many axes.
    let mut net = Net::new();
    let dims: Vec<usize> = (0..32).map(|axis| if axis == 31 { 4096 } else { 1 }).collect();
    net.0.ints("c0", &dims, &[0; 4096]);
    for at in 0..200 {
        net = net.op(&format!("c{}", at + 1), "Add", &[&format!("c{at}"), "c0"]);
    }
    let net = net.ints("flat", &[-1]).op("all", "Reshape", &["c200", "flat"]).op("y", "Reshape", &["x", "all"]);
    net.refused("y", BundleErrorKind::TooLarge, "steps, reached at `c");
}

#[test]
fn a_long_attribute_counts_whenever_it_is_read() {
    let net = |bytes: usize| {
        let text = Attribute::Text(Box::leak("a".repeat(bytes).into_boxed_str()));
        Net::new().with("y", "Flatten", &["x"], &[("axis", Attribute::Int(1)), ("doc", text)])
    };
    assert!(net(1 << 20).demand("y", 1).is_ok());
    net(1 << 25).refused("y", BundleErrorKind::TooLarge, "steps, reached at `y` (Flatten)");
}

#[test]
fn an_empty_value_may_have_axes_beyond_any_number() {
    let most = i64::from(i32::MAX);
    let empty = || {
        let net = Net::new().ints("size", &[0, most]).ints("times", &[1, most]).op("e", "ConstantOfShape", &["size"]);
        net.op("e2", "Tile", &["e", "times"]).op("e3", "Tile", &["e2", "times"])
    };
    let net = empty().ints("from", &[0]).ints("to", &[5]).ints("axis", &[1]);
    assert_eq!(net.op("y", "Slice", &["e3", "from", "to", "axis"]).demand("y", 1).unwrap().1["y"], [0, 5]);
    let mut net = empty();
    net.0.node("Split", "parts", &["e3"], &["y", "z"], &[("axis", Attribute::Int(1))]);
    assert_eq!(net.demand("y", 1).unwrap().1["y"], [0, 1 << 63]);
    let net = empty().ints("pads", &[1, 0, 0, 0]).op("y", "Pad", &["e3", "pads"]);
    net.refused("y", BundleErrorKind::TooLarge, "`y` (Pad)");
}
