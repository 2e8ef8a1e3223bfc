"""The model and the SAE written out in NumPy float64, straight from the bundle's files.

Nothing is folded, fused or reordered: each line is a line of timm's VisionTransformer (evaluation mode) or
of SAELens. It shares no code and no trick with the composer, so agreement means that both are right.
"""

import json
import math

import numpy as np

import tensors

erf = np.frompyfunc(math.erf, 1, 1)


class Model:
    """A bundle's model, float64."""

    def __init__(self, bundle):
        self.manifest = json.loads((bundle / "manifest.json").read_text())
        self.vit = {k: v.astype(np.float64) for k, v in tensors.load(bundle / "model.safetensors").items()}
        self.sae = {k: v.astype(np.float64) for k, v in tensors.load(bundle / "sae.safetensors").items()}

    def run(self, tiles):
        """The graph's outputs for tiles u8 [n, side, side, 3], under the graph's names; `feature_value` and
        `feature_index` are replaced by `features`, all of them: [n, d_sae]."""
        outputs = [self.run_one(tile) for tile in tiles]
        return {name: np.stack([one[name] for one in outputs]) for name in outputs[0]}

    def run_one(self, tile):
        tokens = self.embed(tile)
        outputs = {}
        for block in range(self.manifest["architecture"]["depth"]):
            tokens = self.block(tokens, f"blocks.{block}.")
            for tap in self.manifest["taps"]:
                if tap["after_block"] == block:
                    outputs["embedding_" + tap["name"]] = self.pool(tokens, tap)
        x = outputs["embedding_" + self.manifest["sae"]["tap"]]
        features, reconstructed = self.encode_decode(x)
        unit = self.manifest["sae"]["reference"]["mean_square_deviation"]
        outputs["features"] = features
        outputs["active_count"] = (features != 0).sum()
        outputs["reconstruction_error"] = ((x - reconstructed) ** 2).sum() / unit
        return outputs

    def embed(self, tile):
        m, a, w = self.manifest, self.manifest["architecture"], self.vit
        x = (tile.astype(np.float64) / 255 - np.array(m["mean"])) / np.array(m["std"])
        x = x.transpose(2, 0, 1)
        p, grid = a["patch"], m["side"] // a["patch"]
        patches = []
        for row in range(grid):
            for column in range(grid):
                patch = x[:, row * p : (row + 1) * p, column * p : (column + 1) * p]
                patches.append((w["patch_embed.proj.weight"] * patch).sum((1, 2, 3)) + w["patch_embed.proj.bias"])
        patches = np.stack(patches)
        prefix = [w[name][0] for name in ("cls_token", "reg_token") if name in w]
        if a["no_embed_class"]:
            return np.concatenate([*prefix, patches + w["pos_embed"][0]])
        return np.concatenate([*prefix, patches]) + w["pos_embed"][0]

    def norm(self, x, name):
        mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
        eps = self.manifest["architecture"]["layer_norm_eps"]
        return (x - mean) / np.sqrt(variance + eps) * self.vit[name + ".weight"] + self.vit[name + ".bias"]

    def linear(self, x, name):
        return x @ self.vit[name + ".weight"].T + self.vit.get(name + ".bias", 0.0)

    def block(self, x, at):
        x = x + self.vit.get(at + "ls1.gamma", 1.0) * self.attention(self.norm(x, at + "norm1"), at)
        hidden = self.linear(self.norm(x, at + "norm2"), at + "mlp.fc1")
        if self.manifest["architecture"].get("mlp") == "swiglu":
            gate, value = np.split(hidden, 2, axis=-1)
            hidden = gate / (1 + np.exp(-gate)) * value
        else:
            hidden = hidden * 0.5 * (1 + erf(hidden / math.sqrt(2)).astype(np.float64))
        return x + self.vit.get(at + "ls2.gamma", 1.0) * self.linear(hidden, at + "mlp.fc2")

    def attention(self, x, at):
        heads = self.manifest["architecture"]["heads"]
        n, d = x.shape
        qkv = self.linear(x, at + "attn.qkv").reshape(n, 3, heads, d // heads).transpose(1, 2, 0, 3)
        q, k, v = qkv
        scores = q @ k.transpose(0, 2, 1) / math.sqrt(d // heads)
        scores = np.exp(scores - scores.max(-1, keepdims=True))
        scores = scores / scores.sum(-1, keepdims=True)
        return self.linear((scores @ v).transpose(1, 0, 2).reshape(n, d), at + "attn.proj")

    def pool(self, tokens, tap):
        if tap["final_norm"]:
            tokens = self.norm(tokens, "norm")
        a = self.manifest["architecture"]
        patches = tokens[a["class_token"] + a["register_tokens"] :]
        if tap["pooling"] == "patch_tokens":
            return patches.reshape(-1)
        patches = patches.mean(0)
        if tap["pooling"] == "mean_patch_tokens":
            return patches
        return tokens[0] if tap["pooling"] == "class_token" else np.concatenate([tokens[0], patches])

    def encode_decode(self, x):
        sae, w = self.manifest["sae"], self.sae
        undo = []
        for step in sae.get("input", []):
            x, inverse = self.prepare(x, step)
            undo.insert(0, inverse)
        if sae["apply_b_dec_to_input"]:
            x = x - w["b_dec"]
        features = self.activate(x @ w["W_enc"])
        norms = np.linalg.norm(w["W_dec"], axis=1) if sae["rescale_acts_by_decoder_norm"] else 1.0
        decoded = features / norms @ w["W_dec"] + w["b_dec"]
        for inverse in undo:
            decoded = inverse(decoded)
        return features, decoded

    def prepare(self, x, step):
        if step == "standardize":
            mean, std = self.sae["input_mean"], self.sae["input_std"]
            return (x - mean) / std, lambda y: y * std + mean
        if step == "l2":
            norm = np.linalg.norm(x)
            return x / norm, lambda y: y * norm
        if step == "constant_norm_rescale":
            factor = math.sqrt(len(x)) / np.linalg.norm(x)
            return x * factor, lambda y: y / factor
        mean, deviation = x.mean(), x.std(ddof=1)
        return (x - mean) / (deviation + 1e-5), lambda y: y * deviation + mean

    def activate(self, product):
        sae, w = self.manifest["sae"], self.sae
        kind = sae["architecture"]
        if kind == "gated":
            magnitude = np.maximum(product * np.exp(w["r_mag"]) + w["b_mag"], 0)
            return magnitude * (product + w["b_gate"] > 0)
        pre = product + w["b_enc"]
        if kind in ("topk", "signed_topk"):
            if sae["rescale_acts_by_decoder_norm"]:
                pre = pre * np.linalg.norm(w["W_dec"], axis=1)
            features = np.zeros_like(pre)
            kept = np.argsort(-pre, kind="stable")[: sae["k"]]
            features[kept] = pre[kept] if kind == "signed_topk" else np.maximum(pre[kept], 0)
            return features
        if kind == "groupmax":
            groups = np.maximum(pre, 0).reshape(sae["k"], -1)
            return (groups * (np.arange(groups.shape[1]) == groups.argmax(1)[:, None])).reshape(-1)
        features = np.maximum(pre, 0)
        return features * (pre > w["threshold"]) if kind == "jumprelu" else features


class Int8Model(Model):
    """The same with the bundle's mix: a layer in int8 sees its inputs in 255 steps between a row's least and largest
    value and its weights in 127 steps up to an output's largest. Nothing else is rounded."""

    PART = 384  # The hidden layer is quantised in parts of so many values, both as inputs and as weights.

    def __init__(self, bundle):
        super().__init__(bundle)
        self.factors = {k: v.astype(np.float64) for k, v in tensors.load(bundle / "int8.safetensors").items()}
        self.layers = self.manifest["int8"]["layers"]

    def linear(self, x, name):
        _, block, layer = name.split(".", 2)
        kind = layer.split(".")[1]
        if kind not in self.layers[int(block)]:
            return super().linear(x, name)
        weight, bias = self.vit[name + ".weight"], self.vit.get(name + ".bias", 0.0)
        norm = {"qkv": "norm1", "fc1": "norm2"}.get(kind)
        if norm is not None:
            factors = self.factors[f"blocks.{block}.{norm}"]
            x, weight = x / factors, weight * factors
        parts = range(0, x.shape[-1], self.PART if kind == "fc2" else x.shape[-1])
        width = self.PART if kind == "fc2" else x.shape[-1]
        return sum(rows(x[:, at : at + width]) @ columns(weight[:, at : at + width]).T for at in parts) + bias


def rows(x):
    """Each row in steps of its range / 255; 0 is a step."""
    least, most = np.minimum(x.min(-1, keepdims=True), 0), np.maximum(x.max(-1, keepdims=True), 0)
    size = np.where(most > least, (most - least) / 255, 1)
    zero = np.rint(-least / size)
    return size * (np.clip(np.rint(x / size) + zero, 0, 255) - zero)


def columns(weight):
    """Each output in steps of its largest weight / 127."""
    size = np.abs(weight).max(-1, keepdims=True) / 127
    size = np.where(size > 0, size, 1)
    return size * np.rint(weight / size)
