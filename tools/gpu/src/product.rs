//! One large float16 matrix product as an ONNX graph: what the card's matrix units do at their best.

/// The sides of both matrices.
const SIDE: u64 = 4096;

/// y = a · b, with a and b as inputs, and its operations.
pub(crate) fn product() -> (Vec<u8>, f64) {
    const FLOAT16: u64 = 10;
    let number = |field: u64, value: u64| [varint(field << 3), varint(value)].concat();
    let part = |field: u64, bytes: &[u8]| [varint(field << 3 | 2), varint(bytes.len() as u64), bytes.to_vec()].concat();
    let shape = [part(1, &number(1, SIDE)), part(1, &number(1, SIDE))].concat();
    let tensor = [number(1, FLOAT16), part(2, &shape)].concat();
    let value = |name: &str| [part(1, name.as_bytes()), part(2, &part(1, &tensor))].concat();
    let node = [part(1, b"a"), part(1, b"b"), part(2, b"y"), part(4, b"MatMul")].concat();
    let graph = [part(1, &node), part(2, b"product"), part(11, &value("a")), part(11, &value("b"))].concat();
    let graph = [graph, part(12, &value("y"))].concat();
    let opset = [part(1, b""), number(2, 17)].concat();
    ([number(1, 8), part(7, &graph), part(8, &opset)].concat(), 2.0 * (SIDE as f64).powi(3))
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}
