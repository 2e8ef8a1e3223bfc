"""Random ViTs in the shapes of pathology models, each with a random TopK SAE, as files that `coverslip bundle build` takes.

Weights are drawn so that activations have the size of a trained model's: every product keeps the variance of what it
reads, and the residual stream grows with the depth.
"""

import json

import numpy as np
from safetensors.numpy import save_file

# embed_dim, depth, heads, patch, hidden, gated, registers, k, features
SHAPES = {
    "vit-s14": (384, 12, 6, 14, 1536, False, 0, 32, 4096),
    "vit-b16": (768, 12, 12, 16, 3072, False, 0, 32, 8192),
    "vit-b14-reg4-swiglu": (768, 12, 12, 14, 2048, True, 4, 32, 8192),
    "vit-l16": (1024, 24, 16, 16, 4096, False, 0, 64, 16384),
    "vit-h14-reg8-swiglu": (1536, 24, 24, 14, 4096, True, 8, 64, 16384),
}


def write(out, name, seed=1):
    """The model's and the SAE's files in `out`; `--weights`, `--model`, `--sae` of `coverslip bundle build`."""
    d, depth, heads, patch, hidden, gated, registers, k, features = SHAPES[name]
    random = np.random.default_rng(seed)

    def normal(*shape, scale=1.0):
        return (random.standard_normal(shape, dtype=np.float32) * np.float32(scale)).astype(np.float16)

    prefix, patches = 1 + registers, (224 // patch) ** 2
    w = {
        "cls_token": normal(1, 1, d, scale=0.5),
        "pos_embed": normal(1, (1 if registers == 0 else 0) + patches, d, scale=0.3),
        "patch_embed.proj.weight": normal(d, 3, patch, patch, scale=(3 * patch**2) ** -0.5),
        "patch_embed.proj.bias": normal(d, scale=0.1),
        "norm.weight": (1 + normal(d, scale=0.1)).astype(np.float16),
        "norm.bias": normal(d, scale=0.1),
    }
    if registers:
        w["reg_token"] = normal(1, registers, d, scale=0.5)
    for block in range(depth):
        at = f"blocks.{block}."
        rows = 2 * hidden if gated else hidden
        for norm in ("norm1", "norm2"):
            w[f"{at}{norm}.weight"] = (1 + normal(d, scale=0.1)).astype(np.float16)
            w[f"{at}{norm}.bias"] = normal(d, scale=0.1)
        for layer, outputs, inputs in (
            ("attn.qkv", 3 * d, d),
            ("attn.proj", d, d),
            ("mlp.fc1", rows, d),
            ("mlp.fc2", d, hidden),
        ):
            w[f"{at}{layer}.weight"] = normal(outputs, inputs, scale=inputs**-0.5)
            w[f"{at}{layer}.bias"] = normal(outputs, scale=0.1)
    out.mkdir(parents=True, exist_ok=True)
    save_file(w, out / "model.safetensors")
    spec = {
        "embed_dim": d,
        "depth": depth,
        "num_heads": heads,
        "patch_size": patch,
        "img_size": 224,
        "mlp_ratio": rows / d,
        "register_tokens": registers,
        "no_embed_class": registers > 0,
        "class_token": True,
        "layer_scale": False,
        "layer_norm_eps": 1e-6,
        "activation": "silu" if gated else "gelu",
        "mlp_layer": "SwiGLUPacked" if gated else "Mlp",
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
        "mpp": 0.5,
        "taps": [{"name": "last", "after_block": depth - 1, "final_norm": True, "pooling": "class_token"}],
    }
    (out / "model.json").write_text(json.dumps(spec))
    sae = out / "sae"
    sae.mkdir(exist_ok=True)
    w_dec = random.standard_normal((features, d), dtype=np.float32)
    w_dec /= np.linalg.norm(w_dec, axis=1, keepdims=True)
    zeros = np.zeros
    tensors = {"W_enc": np.ascontiguousarray(w_dec.T), "b_enc": zeros(features, np.float32)}
    tensors |= {"W_dec": w_dec, "b_dec": zeros(d, np.float32)}
    save_file(tensors, sae / "sae_weights.safetensors")
    config = {"architecture": "topk", "d_in": d, "d_sae": features, "k": k, "dtype": "float32"}
    config |= {"apply_b_dec_to_input": True, "normalize_activations": "none", "metadata": {"hook_name": "last"}}
    (sae / "cfg.json").write_text(json.dumps(config))
