"""Compares bundles with PyTorch: timm's VisionTransformer with the bundle's weights, and the SAE in torch.
Run by hand, because torch is several gigabytes; the figures are in docs/results.md.

    pip install torch timm numpy pillow
    python tools/peers/timm_oracle.py --coverslip target/release/coverslip

Both sides get the same uint8 tiles. PyTorch computes in float32 (the issue's tolerance) and once more in
float64, which shows how much of the difference is float32's own.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import timm
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "oracle"))
import tensors  # noqa: E402
from oracle import ROOT, VARIANTS, Report, Tool, compare, find_coverslip, real_tiles  # noqa: E402


def vision_transformer(bundle, manifest, dtype):
    """timm's model with the bundle's weights; strict loading refuses a missing or an extra tensor."""
    a = manifest["architecture"]
    model = timm.models.VisionTransformer(
        img_size=manifest["side"],
        patch_size=a["patch"],
        embed_dim=a["embed_dim"],
        depth=a["depth"],
        num_heads=a["heads"],
        mlp_ratio=a["mlp_dim"] / a["embed_dim"],
        qkv_bias=a["qkv_bias"],
        init_values=1.0 if a["layer_scale"] else None,
        class_token=a["class_token"],
        reg_tokens=a["register_tokens"],
        no_embed_class=a["no_embed_class"],
        global_pool="token" if a["class_token"] else "avg",
        fc_norm=False,
        num_classes=0,
    )
    weights = tensors.load(bundle / "model.safetensors")
    model.load_state_dict({name: torch.tensor(value).to(dtype) for name, value in weights.items()}, strict=True)
    for module in model.modules():
        if isinstance(module, torch.nn.LayerNorm):
            module.eps = a["layer_norm_eps"]
    return model.to(dtype).eval()


@torch.inference_mode()
def run(bundle, tiles, dtype):
    """The graph's outputs by PyTorch, under the graph's names; `features` are all of them."""
    manifest = json.loads((bundle / "manifest.json").read_text())
    model = vision_transformer(bundle, manifest, dtype)
    x = torch.tensor(tiles).to(dtype) / 255
    x = (x - torch.tensor(manifest["mean"], dtype=dtype)) / torch.tensor(manifest["std"], dtype=dtype)
    wanted = sorted({tap["after_block"] for tap in manifest["taps"]})
    a, outputs = manifest["architecture"], {}
    # timm's own intermediate outputs; `norm` is the model's final LayerNorm.
    after = {
        norm: dict(zip(wanted, intermediates(model, x.permute(0, 3, 1, 2), wanted, norm))) for norm in (False, True)
    }
    for tap in manifest["taps"]:
        tokens = after[tap["final_norm"]][tap["after_block"]]
        mean = tokens[:, a["class_token"] + a["register_tokens"] :].mean(1)
        pooled = {
            "class_token": tokens[:, 0],
            "mean_patch_tokens": mean,
            "class_and_mean": torch.cat([tokens[:, 0], mean], 1),
        }[tap["pooling"]]
        outputs["embedding_" + tap["name"]] = pooled
    x = outputs["embedding_" + manifest["sae"]["tap"]]
    features, reconstructed = autoencode(bundle, manifest["sae"], x, dtype)
    unit = manifest["sae"]["reference"]["mean_square_deviation"]
    outputs["features"] = features
    outputs["active_count"] = (features > 0).sum(1)
    outputs["reconstruction_error"] = (x - reconstructed).square().sum(1) / unit
    return {name: value.double().numpy() for name, value in outputs.items()}


def intermediates(model, x, blocks, norm):
    """All tokens after each block, prefix tokens first, by timm's forward_intermediates."""
    found = model.forward_intermediates(
        x, indices=blocks, norm=norm, output_fmt="NLC", intermediates_only=True, return_prefix_tokens=True
    )
    return [torch.cat([prefix, patches], 1) if prefix is not None else patches for patches, prefix in map(pair, found)]


def pair(found):
    return found if isinstance(found, tuple) else (found, None)


def autoencode(bundle, sae, x, dtype):
    """SAELens' formulas in torch."""
    w = {name: torch.tensor(value).to(dtype) for name, value in tensors.load(bundle / "sae.safetensors").items()}
    undo = lambda y: y  # noqa: E731
    if sae["normalize_activations"] == "constant_norm_rescale":
        factor = x.shape[1] ** 0.5 / x.norm(dim=1, keepdim=True)
        x, undo = x * factor, lambda y: y / factor
    elif sae["normalize_activations"] == "layer_norm":
        mean = x.mean(1, keepdim=True)
        deviation = (x - mean).std(1, keepdim=True)
        x, undo = (x - mean) / (deviation + 1e-5), lambda y: y * deviation + mean
    if sae["apply_b_dec_to_input"]:
        x = x - w["b_dec"]
    pre = x @ w["W_enc"] + w["b_enc"]
    norms = w["W_dec"].norm(dim=1) if sae["rescale_acts_by_decoder_norm"] else torch.ones_like(w["b_enc"])
    if sae["architecture"] == "topk":
        top = (pre * norms).topk(sae["k"], dim=1)
        features = torch.zeros_like(pre).scatter(1, top.indices, top.values.relu())
    elif sae["architecture"] == "jumprelu":
        features = pre.relu() * (pre > w["threshold"])
    else:
        features = pre.relu()
    return features, undo((features / norms) @ w["W_dec"] + w["b_dec"])


def check(tool, name, bundle, tiles, kind):
    manifest = json.loads((bundle / "manifest.json").read_text())
    ours = tool.rten(bundle, tiles)
    for dtype in (torch.float32, torch.float64):
        what = f"{name}, {kind} tiles, rten : PyTorch/timm {str(dtype).removeprefix('torch.')}"
        compare(tool.report, what, manifest, run(bundle, tiles, dtype), ours)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--coverslip", type=Path, default=find_coverslip(), help="the built command")
    parser.add_argument("--bundle", type=Path, default=ROOT / "bundles/demo", help="a bundle to check as well")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared/data", help="where he_tiles/*.png are")
    arguments = parser.parse_args()
    print(f"torch {torch.__version__}, timm {timm.__version__}")
    random = np.random.default_rng(11)
    report = Report()
    with tempfile.TemporaryDirectory() as work:
        tool = Tool(arguments.coverslip, Path(work), report)
        bundles = []
        for number, (name, options) in enumerate(VARIANTS):
            bundle = Path(work) / f"bundle{number}"
            tool.call("synthetic", "--out", bundle, "--seed", number + 1, *options)
            bundles.append((name, bundle))
        if (arguments.bundle / "manifest.json").exists():
            bundles.append((arguments.bundle.name, arguments.bundle))
        for name, bundle in bundles:
            side = json.loads((bundle / "manifest.json").read_text())["side"]
            noise = random.integers(0, 256, (4, side, side, 3)).astype(np.uint8)
            check(tool, name, bundle, noise, "random")
            real = real_tiles(arguments.data, side, 6)
            if real is not None:
                check(tool, name, bundle, real, "real")
    sys.exit(report.failed)


if __name__ == "__main__":
    main()
