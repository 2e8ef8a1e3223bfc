"""onnxruntime on the wheel's ONNX file, with the tokens that are tapped as its outputs."""

import hashlib

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper

import weights

# The taps: pooling, the value of the ONNX graph, and the block (its output, or the final norm's).
TAPS = {
    "middle": ("mean_patch_tokens", "/backbone/encoder/layer.5/Add_1_output_0", 5, False),
    "last": ("class_token", "/backbone/layernorm/Add_1_output_0", 11, True),
}
SAE_TAP = "last"
PREFIX_TOKENS = 1  # the class token comes before the patches
BATCH = 8


def preprocess(tiles):
    """u8 [n, side, side, 3] to float32 [n, 3, side, side], as the wheel does it."""
    x = (tiles.astype(np.float32) / 255 - np.float32(weights.MEAN)) / np.float32(weights.STD)
    return np.ascontiguousarray(x.transpose(0, 3, 1, 2))


def pool(tokens, pooling):
    tokens = tokens.astype(np.float64)
    return tokens[:, 0] if pooling == "class_token" else tokens[:, PREFIX_TOKENS:].mean(1)


class Original:
    """The file in onnxruntime; `rewrite`: whether onnxruntime may fuse its nodes first."""

    def __init__(self, path, threads, rewrite=True):
        model = onnx.load(path)
        del model.graph.output[:]
        for _, tensor, _, _ in TAPS.values():
            model.graph.output.append(helper.make_tensor_value_info(tensor, TensorProto.FLOAT, ["n", "t", "d"]))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        if not rewrite:
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        providers = ["CPUExecutionProvider"]
        self.session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers)

    def embeddings(self, tiles):
        """The taps' embeddings, by their name in a bundle's outputs; float64 from float32 tokens."""
        found = {f"embedding_{name}": [] for name in TAPS}
        for start in range(0, len(tiles), BATCH):
            tokens = self.session.run(None, {"input_image": preprocess(tiles[start : start + BATCH])})
            for (name, (pooling, *_)), values in zip(TAPS.items(), tokens):
                found[f"embedding_{name}"].append(pool(values, pooling))
        return {name: np.concatenate(values) for name, values in found.items()}

    def kept(self, tiles, directory):
        """The same, kept in `directory` for another run with the same tiles: this is the slowest part."""
        path = directory / f"embeddings-{hashlib.sha256(tiles.tobytes()).hexdigest()[:16]}.npz"
        if not path.exists():
            part = path.with_suffix(".part")
            with part.open("wb") as file:
                np.savez(file, **self.embeddings(tiles))
            part.rename(path)
        return dict(np.load(path))
