"""Compares the composed graph on rten, and the CPU engine's float32 kernels that this processor has, as `coverslip
bundle run` computes them, with onnxruntime on the ONNX file and with a float64 transcription of model and SAE. One line per
comparison; exits with 1 if a tolerance is passed.

    python -m venv .venv && .venv/bin/pip install -r tools/oracle/requirements.txt
    .venv/bin/python tools/oracle/oracle.py --coverslip target/release/coverslip

A command for another processor runs through a script that calls its emulator; `--engines` and `--int8` then say which
kernels that processor has.
"""

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

import tensors
from transcription import Int8Model, Model

ROOT = Path(__file__).resolve().parents[2]
EMBEDDING = 1e-9  # 1 − cosine, per tap, computed in float64
# In int8 a value that lies between two steps may go to the other one by a rounding error of float32. Mostly none does:
# 2e-13 was found. Where one does, it has moved by a step: 2e-7 was found. Whatever moves must stay three times as near as the
# same model without int8.
INT8 = 1e-8
INT8_OF_FLOATS = 1 / 3
FEATURES = 1e-4  # ‖f − f′‖ / ‖f‖; indices may differ between values closer than this
VARIANTS = [
    ("topk", []),
    ("relu", ["--sae", "relu", "--pooling", "mean-patch-tokens"]),
    ("jumprelu, registers", ["--sae", "jumprelu", "--registers", "4", "--no-embed-class"]),
    ("topk rescaled, LayerScale", ["--rescale", "--layer-scale", "--pooling", "class-and-mean"]),
    ("relu, layer_norm, no class token", ["--sae", "relu", "--input", "layer-norm", "--no-class-token"]),
    ("jumprelu, constant norm", ["--sae", "jumprelu", "--input", "constant-norm-rescale", "--no-input-bias"]),
    ("registers, LayerScale, f16, no qkv bias", ["--registers", "2", "--layer-scale", "--half", "--no-qkv-bias"]),
    ("gated, standardized, SwiGLU", ["--sae", "gated", "--input", "standardize", "--swiglu", "--layer-scale"]),
    ("signed topk, standardized, norm 1", ["--sae", "signedtopk", "--input", "standardize", "l2"]),
    ("groupmax", ["--sae", "groupmax", "--pooling", "class-and-mean"]),
    ("patch tokens, registers", ["--patch-tokens", "--registers", "3"]),
    ("ViT-S/16, registers, LayerScale", ["--size", "vit-small", "--registers", "4", "--layer-scale"]),
]


class Report:
    """Lines, and whether one failed."""

    def __init__(self):
        self.failed = False

    def line(self, what, groups):
        """`groups`: what is measured, the tolerance, and the figures."""
        ok = all(value <= tolerance for _, tolerance, values in groups for value in values)
        self.failed |= not ok
        texts = [
            f"{name} {' '.join(f'{value:.1e}' if value else '0' for value in values)} (≤ {tolerance:g})"
            for name, tolerance, values in groups
        ]
        print(f"{'ok  ' if ok else 'FAIL'} {what}: {', '.join(texts)}", flush=True)


def one_minus_cosine(a, b):
    """The worst of all tiles, as half the squared distance of unit vectors: exact for small angles."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    a = a / np.linalg.norm(a, axis=1, keepdims=True)
    b = b / np.linalg.norm(b, axis=1, keepdims=True)
    return float((((a - b) ** 2).sum(1) / 2).max())


def dense(outputs, d_sae):
    """Reported features as vectors over all features."""
    if "features" in outputs:
        return outputs["features"]
    values = np.zeros((len(outputs["feature_index"]), d_sae))
    np.put_along_axis(values, outputs["feature_index"].astype(np.int64), outputs["feature_value"], 1)
    return values


def other_indices(expected, found, k):
    """Places among the k strongest with another feature, where the values are no near tie."""
    count = 0
    for e, f in zip(expected, found):
        at_e, at_f = np.argsort(-e, kind="stable")[:k], np.argsort(-f, kind="stable")[:k]
        a, b = e[at_e], e[at_f]
        near = np.abs(a - b) <= FEATURES * np.maximum(np.abs(a), np.abs(b))
        count += int(((at_e != at_f) & (a != 0) & ~near).sum())
    return count


def feature_distance(expected, found, k):
    """‖f − f′‖ / ‖f‖ of the k strongest by `expected`; a near tie at the cut is not counted twice."""
    worst = 0.0
    for e, f in zip(expected, found):
        kept = np.zeros(len(e), bool)
        kept[np.argsort(-e, kind="stable")[:k]] = True
        difference = np.where(kept & (f != 0), e - f, np.where(kept, e, 0.0))
        cut = np.sort(e)[-k]
        lost = kept & (f == 0) & (np.abs(e - cut) <= FEATURES * abs(cut))
        worst = max(worst, np.linalg.norm(np.where(lost, 0.0, difference)) / (np.linalg.norm(e[kept]) or 1.0))
    return float(worst)


def compare(report, what, manifest, expected, found):
    """All figures of `found` against `expected`."""
    taps = ["embedding_" + tap["name"] for tap in manifest["taps"]]
    distances = [one_minus_cosine(expected[tap], found[tap]) for tap in taps]
    d_sae, k = manifest["sae"]["d_sae"], manifest["sae"]["outputs"]
    e, f = dense(expected, d_sae), dense(found, d_sae)
    error = np.abs(expected["reconstruction_error"] - found["reconstruction_error"])
    error = float((error / np.maximum(expected["reconstruction_error"], 1)).max())
    active = np.abs(expected["active_count"].astype(int) - found["active_count"].astype(int)).max()
    report.line(
        what,
        [
            ("1-cos", EMBEDDING, distances),
            ("features, error", FEATURES, [feature_distance(e, f, k), error]),
            ("other indices", 0, [other_indices(e, f, k)]),
            # A feature may be active by a rounding error on one side only.
            ("active", 1, [int(active)]),
        ],
    )


def real_tiles(data, side, n):
    """Tiles from the middle of real H&E images."""
    tiles = []
    for path in sorted((data / "he_tiles").glob("*.png")):
        image = np.asarray(Image.open(path).convert("RGB"))
        top, left = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
        if top >= 0 and left >= 0:
            tiles.append(image[top : top + side, left : left + side])
    step = max(1, len(tiles) // n)
    return np.stack(tiles[::step][:n]) if tiles else None


class Tool:
    """The built command."""

    def __init__(self, coverslip, work, report, engines):
        self.coverslip, self.work, self.report, self.engines = coverslip, work, report, engines

    def call(self, *arguments):
        result = subprocess.run([self.coverslip, "bundle", *map(str, arguments)], capture_output=True, text=True)
        if result.returncode:
            sys.exit(f"coverslip bundle {' '.join(map(str, arguments))}: {result.stdout}{result.stderr}")

    def run(self, engine, bundle, tiles):
        """The bundle's outputs for tiles, computed by the command."""
        tensors.save(self.work / "tiles.safetensors", {"tiles": tiles})
        kernels = [] if engine == "rten" else ["--kernels", engine]
        out = self.work / "outputs.safetensors"
        self.call("run", bundle, "--tiles", self.work / "tiles.safetensors", *kernels, "--out", out)
        return tensors.load(out)


# Kernels, and the instructions that they need.
FLOAT32 = {"avx2": ["avx2", "fma"], "avx512": ["avx512f", "avx512bw", "avx512dq", "avx512vl"]}
# The products of int8, with those of float32 beside them.
INT8_KERNELS = {"avx-vnni avx2": ["avx_vnni"], "avx512-vnni avx512": ["avx512_vnni"]}


def of_this_processor(wanted):
    """The kernels whose instructions this processor has."""
    flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    here = [name for name, needs in wanted.items() if all(f" {flag} " in flags for flag in needs)]
    for name in wanted.keys() - set(here):
        print(f"skip {name}: this processor does not have it")
    return here


def onnx_session(tool, bundle):
    """The bundle's graph, checked by ONNX and loaded by onnxruntime with one thread. Imported here, because
    tools/peers uses the rest of this file without them."""
    import onnx
    import onnxruntime

    path = tool.work / "model.onnx"
    tool.call("export-onnx", bundle, "--out", path)
    onnx.checker.check_model(str(path), full_check=True)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def check(tool, name, bundle, tile_sets, transcribed):
    """All comparisons for one bundle; the transcription is slow, so it sees `transcribed` tiles of a set."""
    manifest = json.loads((bundle / "manifest.json").read_text())
    session = onnx_session(tool, bundle)
    names = [output.name for output in session.get_outputs()]
    model = Model(bundle)
    for kind, tiles in tile_sets(manifest["side"]):
        if tiles is None:
            print(f"skip {name}, {kind} tiles: no images in --data")
            continue
        at = f"{name}, {kind} tiles"
        theirs = dict(zip(names, session.run(None, {"pixels": tiles})))
        few = tiles[:transcribed]
        exact = model.run(few)
        for engine in tool.engines:
            ours = tool.run(engine, bundle, tiles)
            compare(tool.report, f"{at}, {engine} : onnxruntime", manifest, theirs, ours)
            alone = tool.run(engine, bundle, tiles[-1:])
            last = {key: value[-1:] for key, value in ours.items()}
            compare(tool.report, f"{at}, {engine} in a batch : alone", manifest, alone, last)
            first = {key: value[: len(few)] for key, value in ours.items()}
            compare(tool.report, f"{at}, {engine} : float64", manifest, exact, first)


def check_int8(tool, name, options, tiles, families):
    """Every layer of a random bundle in int8, on each family, against its transcription."""
    bundle = tool.work / name
    tool.call("synthetic", "--out", bundle, *options)
    manifest = json.loads((bundle / "manifest.json").read_text())
    shown = tiles(manifest["side"])
    depth, width = manifest["architecture"]["depth"], manifest["architecture"]["embed_dim"]
    random = np.random.default_rng(3)
    factors = {
        f"blocks.{block}.{norm}": np.exp(random.normal(0, 0.5, width)).astype(np.float32)
        for block in range(depth)
        for norm in ("norm1", "norm2")
    }
    path = bundle / "int8.safetensors"
    tensors.save(path, factors)
    gate = {"slides": 0, "tiles": 0, "overlap": 0, "overlap_low": 0, "value_overlap": 0, "flags_changed": 0, "kernels": ""}
    layers = [["qkv", "proj", "fc1", "fc2"]] * depth
    manifest["int8"] = {"rest": "float32", "layers": layers, "gate": gate}
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    manifest["files"][path.name] = {"bytes": path.stat().st_size, "sha256": digest}
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    exact, mixed = Model(bundle).run(shown), Int8Model(bundle).run(shown)
    taps = ["embedding_" + tap["name"] for tap in manifest["taps"]]
    away = min(one_minus_cosine(exact[tap], mixed[tap]) for tap in taps)
    for kernels in families:
        ours = tool.run(kernels, bundle, shown)
        figures = [one_minus_cosine(mixed[tap], ours[tap]) for tap in taps]
        tolerance = max(INT8, INT8_OF_FLOATS * away)
        tool.report.line(f"{name}, {kernels} : int8 in float64 ({away:.1e} from no int8)", [("1-cos", tolerance, figures)])


def find_coverslip():
    built = [ROOT / "target" / profile / "coverslip" for profile in ("release", "debug")]
    return next((path for path in built if path.exists()), None)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--coverslip", type=Path, default=find_coverslip(), help="the built command")
    parser.add_argument("--bundle", type=Path, default=ROOT / "bundles/demo", help="a bundle to check as well")
    parser.add_argument("--engines", help="what computes in float32, by commas; without it rten and what this processor has")
    parser.add_argument("--int8", help="which kernels of int8, by commas")
    parser.add_argument("--variants", type=int, default=len(VARIANTS), help="how many of the random models to check")
    parser.add_argument("--tiles", type=int, default=6, help="at most so many tiles of each kind for a model in float32")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared/data", help="where he_tiles/*.png are")
    arguments = parser.parse_args()
    if arguments.coverslip is None:
        sys.exit("no built command found; run `cargo build --release -p coverslip-lab` or pass --coverslip")
    random = np.random.default_rng(7)

    def sets(side):
        yield "random", random.integers(0, 256, (min(5, arguments.tiles), side, side, 3)).astype(np.uint8)
        yield "real", real_tiles(arguments.data, side, arguments.tiles)

    engines = arguments.engines.split(",") if arguments.engines else ["rten", *of_this_processor(FLOAT32)]
    int8 = arguments.int8.split(",") if arguments.int8 else ["plain-int8 plain", *of_this_processor(INT8_KERNELS)]
    report = Report()
    with tempfile.TemporaryDirectory() as work:
        tool = Tool(arguments.coverslip, Path(work), report, engines)
        for number, (name, options) in enumerate(VARIANTS[: arguments.variants]):
            bundle = Path(work) / f"bundle{number}"
            tool.call("synthetic", "--out", bundle, "--seed", number + 1, *options)
            check(tool, name, bundle, sets, 1 if "vit-small" in options else 5)
        for name, options in [("int8", []), ("int8, SwiGLU, registers", ["--swiglu", "--registers", "3", "--layer-scale"])]:
            check_int8(tool, name, options, lambda side: random.integers(0, 256, (8, side, side, 3)).astype(np.uint8), int8)
        if (arguments.bundle / "manifest.json").exists():
            check(tool, arguments.bundle.name, arguments.bundle, sets, 3)
        else:
            print(f"skip {arguments.bundle}: no bundle there")
    sys.exit(report.failed)


if __name__ == "__main__":
    main()
