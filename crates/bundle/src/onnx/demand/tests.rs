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
