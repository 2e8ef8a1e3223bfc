"""A composed graph on PyTorch, operator by operator, each in the type that the graph gives it."""

import numpy as np
import onnx
import torch
import torch.nn.functional as F

TYPES = {1: torch.float32, 2: torch.uint8, 6: torch.int32, 7: torch.int64, 9: torch.bool, 10: torch.float16,
         16: torch.bfloat16}


def constant(tensor):
    """An initializer; its bytes are little-endian."""
    raw = torch.frombuffer(bytearray(tensor.raw_data), dtype=TYPES[tensor.data_type])
    return raw.reshape(list(tensor.dims))


def layer_norm(x, weight, bias, attributes):
    return F.layer_norm(x, weight.shape, weight, bias, attributes["epsilon"])


def sliced(x, starts, ends, axes):
    for start, end, axis in zip(starts.tolist(), ends.tolist(), axes.tolist()):
        x = x.narrow(axis, start, min(end, x.shape[axis]) - start)
    return x


def padded(x, pads):
    half = len(pads) // 2
    pairs = [int(v) for i in reversed(range(half)) for v in (pads[i], pads[half + i])]
    return F.pad(x, pairs)


def reduced(function):
    def apply(x, axes, attributes):
        return function(x, dim=tuple(axes.tolist()), keepdim=bool(attributes["keepdims"]))

    return apply


def gathered(x, indices, attributes):
    return F.embedding(indices, x) if attributes.get("axis", 0) == 0 else None


SIMPLE = {
    "Abs": torch.abs, "Add": torch.add, "Sub": torch.sub, "Mul": torch.mul, "Div": torch.div, "Greater": torch.gt,
    "Identity": lambda x: x, "MatMul": torch.matmul, "Relu": torch.relu, "Sigmoid": torch.sigmoid, "Sqrt": torch.sqrt,
    "Where": torch.where, "Slice": sliced, "Pad": padded, "Reshape": lambda x, shape: x.reshape(shape.tolist()),
}
WITH_ATTRIBUTES = {
    "Cast": lambda x, a: x.to(TYPES[a["to"]]),
    "Concat": None,
    "Gather": gathered,
    "Gelu": lambda x, a: F.gelu(x),
    "LayerNormalization": layer_norm,
    "ReduceL2": reduced(lambda x, **k: torch.linalg.vector_norm(x, **k)),
    "ReduceMean": reduced(torch.mean),
    "ReduceSum": reduced(lambda x, **k: torch.sum(x, dtype=x.dtype, **k)),
    "ReduceSumSquare": reduced(lambda x, **k: torch.sum(x * x, **k)),
    "Softmax": lambda x, a: torch.softmax(x, a["axis"]),
    "Transpose": lambda x, a: x.permute(a["perm"]),
}


@torch.no_grad()
def run(model, pixels, every=False):
    """Outputs, or every value, by name."""
    values = {tensor.name: constant(tensor) for tensor in model.graph.initializer}
    constants = set(values)
    values["pixels"] = torch.from_numpy(pixels)
    for node in model.graph.node:
        inputs = [values[name] for name in node.input]
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        if node.op_type == "TopK":
            top = torch.topk(inputs[0], int(inputs[1]), dim=attributes["axis"])
            values[node.output[0]], values[node.output[1]] = top.values, top.indices
        elif node.op_type == "Concat":
            values[node.output[0]] = torch.cat(inputs, attributes["axis"])
        elif node.op_type in SIMPLE:
            values[node.output[0]] = SIMPLE[node.op_type](*inputs)
        else:
            values[node.output[0]] = WITH_ATTRIBUTES[node.op_type](*inputs, attributes)
    if every:
        return {name: value for name, value in values.items() if name not in constants}
    return {output.name: values[output.name] for output in model.graph.output}


def outputs(path, pixels):
    """Outputs by name as NumPy's arrays, one tile at a time."""
    model = onnx.load(path)
    rows = [run(model, tile[None]) for tile in pixels]
    return {name: np.concatenate([row[name].numpy() for row in rows]) for name in rows[0]}
