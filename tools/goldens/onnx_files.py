"""Small ONNX models for the importer's tests, with what onnxruntime computes for them.

    python tools/goldens/onnx_files.py        # torch 2.15, timm 1.0.31, onnx 1.22, onnxruntime 1.32 were used

Each case is a directory of crates/import/tests/golden/onnx: model.onnx as an exporter wrote it, model.json (taps, as a
user states them) and golden.safetensors: tiles u8 [2, side, side, 3] and embedding_<tap> f32, computed by
onnxruntime from the untouched file. Cases in `refused` have a model.json with "refused": words that the message
must have.
"""

import json
import shutil
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import timm
import torch
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save_file

OUT = Path(__file__).resolve().parents[2] / "crates/import/tests/golden/onnx"
timm.layers.set_fused_attn(False)
MEAN, STD = [0.5, 0.4, 0.6], [0.25, 0.3, 0.2]
SMALL = dict(embed_dim=32, depth=2, num_heads=4, num_classes=0)


def randomise(model, seed):
    """Weights off their neutral values, so that a forgotten one shows."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        parameter.data += noise * (0.1 if parameter.ndim > 1 else 0.05)
    return model.eval()


def export(model, side, dynamic=True, opset=17, sample=None):
    """The TorchScript exporter's file: what most ONNX files on hubs are."""
    sample = torch.zeros(2 if dynamic else 1, 3, side, side) if sample is None else sample
    path = OUT / "exporting.onnx"
    axes = {"image": {0: "batch"}} if dynamic else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(model, sample, path, input_names=["image"],
                          output_names=["out"], dynamic_axes=axes, opset_version=opset, dynamo=False)
    found = onnx.load(path)
    path.unlink()
    return found


def residuals(model):
    """Outputs of sums of two computed values: the ends of a transformer's half blocks."""
    constants = {initializer.name for initializer in model.graph.initializer}
    constants |= {node.output[0] for node in model.graph.node if node.op_type == "Constant"}
    return [n.output[0] for n in model.graph.node if n.op_type == "Add" and not constants & set(n.input)]


def case(name, model, side, taps, layout="NCHW", spec=None):
    """Writes a case; `taps`: (name, tensor, pooling, prefix tokens)."""
    directory = OUT / name
    directory.mkdir(parents=True)
    onnx.save(model, directory / "model.onnx")
    listed = []
    for tap, tensor, pooling, prefix in taps:
        entry = {"name": tap, "tensor": tensor, "pooling": pooling}
        listed.append(entry | ({"prefix_tokens": prefix} if prefix is not None else {}))
    about = {"taps": listed, "mpp": 0.5, "mean": MEAN, "std": STD, **(spec or {})}
    (directory / "model.json").write_text(json.dumps(about, indent=1) + "\n")
    tiles = np.random.default_rng(7).integers(0, 256, (2, side, side, 3)).astype(np.uint8)
    x = ((tiles / 255 - MEAN) / STD).astype(np.float32)
    save_file({"tiles": tiles} | outputs(model, x if layout == "NHWC" else x.transpose(0, 3, 1, 2), taps),
              directory / "golden.safetensors")


def outputs(model, x, taps):
    """Each tap by onnxruntime, one tile at a time, pooled in float64."""
    model = onnx.ModelProto.FromString(model.SerializeToString())
    del model.graph.output[:]
    for tensor in sorted({tap[1] for tap in taps}):
        model.graph.output.append(helper.make_empty_tensor_value_info(tensor))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    image = session.get_inputs()[0]
    kind = np.float16 if "16" in image.type else np.float32
    found = {}
    for tap, tensor, pooling, prefix in taps:
        rows = [session.run([tensor], {image.name: tile[None].astype(kind)})[0].astype(np.float64)[0] for tile in x]
        pooled = {
            "none": lambda t: t,
            "class_token": lambda t: t[0],
            "mean_patch_tokens": lambda t: t[prefix or 0 :].mean(0),
            "class_and_mean": lambda t: np.concatenate([t[0], t[prefix or 0 :].mean(0)]),
        }[pooling]
        found["embedding_" + tap] = np.stack([pooled(row) for row in rows]).astype(np.float32)
    return found


def vit(**options):
    return timm.models.VisionTransformer(img_size=32, patch_size=8, **{**SMALL, **options})


class Resampled(torch.nn.Module):
    """A DINOv2-like position embedding, resampled within the graph by a cubic Resize."""

    def __init__(self, model):
        super().__init__()
        self.model = model
        self.positions = torch.nn.Parameter(torch.randn(1, 32, 7, 7))

    def forward(self, image):
        tokens = self.model.patch_embed(image)
        positions = torch.nn.functional.interpolate(self.positions, size=(4, 4), mode="bicubic", align_corners=False)
        tokens = tokens + positions.flatten(2).transpose(1, 2)
        for block in self.model.blocks:
            tokens = block(tokens)
        return self.model.norm(tokens)


class ChannelsLast(torch.nn.Module):
    """Takes images [n, height, width, 3]."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, image):
        return self.model(image.permute(0, 3, 1, 2))


class BatchNormed(torch.nn.Module):
    """A graph in which a tile depends on the rest of its batch."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, image):
        out = self.model(image)
        return out - out.mean(0, keepdim=True) + out.mean()


def supported():
    model = export(randomise(vit(), 1), 32)
    sums = residuals(model)
    taps = [("early", sums[-3], "mean_patch_tokens", 1), ("last", "out", "none", None)]
    case("vit_dynamic", model, 32, taps)
    case("vit_class_and_mean", model, 32, [("last", sums[-1], "class_and_mean", 1)])
    case("vit_fixed_batch", export(randomise(vit(), 2), 32, dynamic=False), 32, [("last", "out", "none", None)])
    half = randomise(vit(class_token=False, global_pool="avg"), 3).half()
    model = export(half, 32, sample=torch.zeros(2, 3, 32, 32).half())
    case("vit_float16", model, 32, [("last", "out", "none", None)])
    pooled = randomise(vit(global_pool="map", class_token=False), 4)
    case("attention_pool", export(pooled, 32), 32, [("last", "out", "none", None)])
    rotary = randomise(timm.models.Eva(img_size=32, patch_size=8, **SMALL, use_rot_pos_emb=True, swiglu_mlp=True,
                                       use_abs_pos_emb=True, ref_feat_shape=(4, 4)), 5)
    case("rotary_positions", export(rotary, 32), 32, [("last", "out", "none", None)])
    flexible = randomise(vit(no_embed_class=True), 6)
    flexible.set_input_size(img_size=36, patch_size=12)
    case("flexivit", export(flexible.eval(), 36), 36, [("last", "out", "none", None)])
    case("cubic_resize", export(Resampled(randomise(vit(class_token=False, global_pool="avg"), 7)), 32), 32,
         [("last", "out", "mean_patch_tokens", 0)])
    model = export(ChannelsLast(randomise(vit(), 8)), 32, sample=torch.zeros(2, 32, 32, 3))
    case("channels_last", model, 32, [("last", "out", "none", None)], layout="NHWC")
    external()


def external():
    """Weights beside the model, as exporters write large ones."""
    model = export(randomise(vit(), 9), 32)
    case("external_weights", model, 32, [("last", "out", "none", None)])
    directory = OUT / "external_weights"
    onnx.save(model, directory / "model.onnx", save_as_external_data=True, location="model.onnx.data", size_threshold=64)


def refusal(name, model, words, spec=None):
    directory = OUT / "refused" / name
    directory.mkdir(parents=True)
    onnx.save(model, directory / "model.onnx")
    about = {"taps": [{"name": "last", "tensor": "out", "pooling": "none"}], "mpp": 0.5, "mean": MEAN, "std": STD}
    (directory / "model.json").write_text(json.dumps(about | (spec or {}), indent=1) + "\n")
    (directory / "refused.json").write_text(json.dumps(words, indent=1) + "\n")


def graph(nodes, inputs=None, opset=17, constants=()):
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, 16, 16])
    out = helper.make_tensor_value_info("out", TensorProto.FLOAT, None)
    body = helper.make_graph(nodes, "g", [image, *(inputs or [])], [out], list(constants))
    imports = [helper.make_opsetid("", opset), helper.make_opsetid("com.example", 1)]
    return helper.make_model(body, opset_imports=imports, ir_version=9)


def refused():
    node = helper.make_node
    weight = numpy_helper.from_array(np.ones((768, 16), np.float32), "w")
    flat = [node("Flatten", ["image"], ["flat"], "flatten"), node("MatMul", ["flat", "w"], ["product"], "product")]
    strange = [
        node("NonMaxSuppression", ["product", "product"], ["a"], "boxes"),
        node("StringNormalizer", ["a"], ["b"], "words"),
        node("Magic", ["b"], ["c"], "magic", domain="com.example"),
        node("Add", ["c", "product"], ["out"], "sum"),
    ]
    refusal("operators", graph(flat + strange, constants=[weight]),
            ["NonMaxSuppression", "StringNormalizer", "com.example.Magic", "`boxes`", "not supported"])
    branch = helper.make_graph([node("Identity", ["product"], ["then"])], "b", [],
                               [helper.make_tensor_value_info("then", TensorProto.FLOAT, None)])
    condition = numpy_helper.from_array(np.array(True), "yes")
    conditional = node("If", ["yes"], ["out"], "if", then_branch=branch, else_branch=branch)
    refusal("control_flow", graph([*flat, conditional], constants=[weight, condition]), ["If (control flow)"])
    identity = node("Identity", ["product"], ["out"])
    refusal("old_opset", graph([*flat, identity], opset=11, constants=[weight]), ["opset 11", "13"])
    refusal("no_such_tensor", graph([*flat, identity], constants=[weight]), ["`nowhere`", "inspect"],
            {"taps": [{"name": "last", "tensor": "nowhere", "pooling": "none"}]})
    text = helper.make_tensor_value_info("tokens", TensorProto.FLOAT, ["n", 16])
    both = node("Add", ["product", "tokens"], ["out"])
    refusal("text_input", graph([*flat, both], inputs=[text], constants=[weight]), ["tokens", "beside the image"])
    refusal("not_pooled", graph([*flat, identity], constants=[weight]), ["[1, 16]", "none"],
            {"taps": [{"name": "last", "tensor": "out", "pooling": "class_token"}]})
    refusal("another_size", graph([*flat, identity], constants=[weight]), ["img_size 32", "16 px"], {"img_size": 32})
    antialias = [node("Resize", ["image", "", "", "sizes"], ["large"], "resize", mode="cubic", antialias=1),
                 node("Flatten", ["large"], ["flat"]), node("MatMul", ["flat", "w2"], ["out"])]
    constants = [numpy_helper.from_array(np.array([1, 3, 8, 8]), "sizes"),
                 numpy_helper.from_array(np.ones((192, 64), np.float32), "w2")]
    refusal("antialias", graph(antialias, opset=18, constants=constants), ["Resize cubic half_pixel with antialias"])
    # torch's x[:, None].expand(-1, 2, …).reshape(…): the engine's optimiser takes a tile for a repetition.
    tiled = [node("Reshape", ["product", "rows"], ["a"]), node("Unsqueeze", ["a", "axis"], ["b"], "unsqueeze"),
             node("Expand", ["b", "twice"], ["c"], "expand"), node("Reshape", ["c", "tiled"], ["d"], "tile"),
             node("Flatten", ["d"], ["out"])]
    varied = numpy_helper.from_array(np.sin(np.arange(768 * 16, dtype=np.float32)).reshape(768, 16), "w")
    constants = [varied, *(numpy_helper.from_array(np.array(value), name) for name, value in {
        "rows": [1, 4, 4], "axis": [1], "twice": [1, 2, 4, 4], "tiled": [1, 8, 4]}.items())]
    refusal("engine_rewrites_it", graph(flat + tiled, constants=constants), ["optimisation", "`out`"])
    truth = [node("Cast", ["product"], ["bool"], "cast", to=9), node("Cast", ["bool"], ["out"], to=1)]
    refusal("cast_to_bool", graph(flat + truth, constants=[weight]), ["Cast to ONNX type 9"])
    large = numpy_helper.from_array(np.array([1, 1 << 40]), "large")
    refusal("absurd_shape", graph([*flat, node("Expand", ["product", "large"], ["out"])], constants=[weight, large]),
            ["Expand with an integer beyond 32 bits"])
    twice = graph([*flat, identity, node("Relu", ["flat"], ["product"])], constants=[weight])
    refusal("made_twice", twice, ["`product`", "made twice"])
    lower = [node("AveragePool", ["image"], ["p"], kernel_shape=[2, 2], auto_pad="SAME_LOWER"),
             node("Flatten", ["p"], ["flat"]), node("MatMul", ["flat", "w3"], ["out"])]
    w3 = numpy_helper.from_array(np.ones((675, 16), np.float32), "w3")
    refusal("same_lower", graph(lower, constants=[w3]), ["AveragePool with auto_pad SAME_LOWER"])
    model = export(BatchNormed(randomise(vit(), 10)), 32)
    refusal("depends_on_the_batch", model, ["depends on the other tiles"])
    broken = graph([*flat, identity], constants=[numpy_helper.from_array(np.full((768, 16), np.nan, np.float32), "w")])
    refusal("not_finite", broken, ["NaN"])


if __name__ == "__main__":
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    torch.manual_seed(0)
    supported()
    refused()
    for path in sorted(OUT.rglob("model.onnx")):
        print(f"{path.parent.relative_to(OUT)}: {path.stat().st_size} bytes")
