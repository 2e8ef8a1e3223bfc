"""What float16 and bfloat16 do to a bundle's outputs: the graph that `coverslip bundle export-onnx --precision` writes,
run by engines that are not ours, against the float32 graph on ONNX Runtime, tile by tile.

float16 runs on ONNX Runtime; bfloat16, which ONNX Runtime's CPU has no kernels for, on PyTorch, operator by operator
(`graph.py`), as does float16 once more.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from PIL import Image
from safetensors import safe_open

import graph
import models

# 1 − cosine, ‖f−f′‖/‖f‖, overlap of the k strongest: what the plugin's self-check allows.
ALLOWED = {"fp16": (1e-4, 0.05, 0.95), "fp16-sae": (1e-4, 0.05, 0.95), "bf16": (1e-3, 0.16, 0.85)}


def tiles(folder, side, count):
    """`count` tiles: random cuts of the images in a folder, or noise in patches without one."""
    random = np.random.default_rng(5)
    if folder is None:
        coarse = random.integers(0, 256, (count, side // 14, side // 14, 3), dtype=np.uint8)
        fine = np.repeat(np.repeat(coarse, 14, 1), 14, 2).astype(int) + random.integers(-20, 21, (count, side, side, 3))
        return np.clip(fine, 0, 255).astype(np.uint8)
    names = sorted(path for path in Path(folder).rglob("*") if path.suffix.lower() in (".png", ".jpg", ".jpeg"))
    pictures = [np.asarray(Image.open(path).convert("RGB")) for path in names]
    pictures = [picture for picture in pictures if min(picture.shape[:2]) >= side]
    cuts = []
    while len(cuts) < count:
        picture = pictures[len(cuts) % len(pictures)]
        y, x = (random.integers(0, size - side + 1) for size in picture.shape[:2])
        cuts.append(picture[y : y + side, x : x + side])
    return np.stack(cuts)


def run(path, pixels):
    """Outputs by name, one tile at a time."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    rows = [session.run(names, {"pixels": tile[None]}) for tile in pixels]
    return {name: np.concatenate([row[i] for row in rows]) for i, name in enumerate(names)}


def figures(expected, found):
    """The worst tile's 1 − cosine of any tap, features' distance, and the mean overlap of the strongest."""
    cosine = 0.0
    for name in (name for name in expected if name.startswith("embedding_")):
        a, b = (outputs[name].astype(np.float64) for outputs in (expected, found))
        a, b = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (a, b))
        cosine = max(cosine, (((a - b) ** 2).sum(1) / 2).max())
    distances, overlaps = [], []
    for i, j, f, g in zip(*(o[n] for n in ("feature_index", "feature_value") for o in (expected, found))):
        f, g = dict(zip(i[f != 0], f[f != 0])), dict(zip(j[g != 0], g[g != 0]))
        # Which of two that tie at the cut is reported does not count here, only in the overlap.
        cut = 1.05 * min(f.values(), default=0)
        both = [(f.get(at, 0), g.get(at, 0)) for at in f.keys() | g.keys()]
        square = sum((a - b) ** 2 for a, b in both if a * b != 0 or max(a, b) > cut)
        distances.append(np.sqrt(square / sum(v * v for v in f.values())))
        overlaps.append(len(f.keys() & g.keys()) / max(len(f), 1))
    error = np.abs(found["reconstruction_error"] / expected["reconstruction_error"] - 1).max()
    return cosine, max(distances), float(np.mean(overlaps)), float(error)


def stream(path, pixels):
    """The largest value of the residual stream and of any narrow value, by their names, on float32."""
    model = onnx.load(path)
    largest = {}
    for tile in pixels[:2]:
        for name, value in graph.run(model, tile[None], every=True).items():
            if value.dtype.is_floating_point:
                largest[name] = max(largest.get(name, 0.0), float(value.abs().max()))
    inner = {name: value for name, value in largest.items() if name.startswith("block")}
    kept = {name: value for name, value in inner.items() if name.endswith((".out", "attn.sum"))}
    narrow = {name: value for name, value in inner.items() if name not in kept}
    return [max(values.items(), key=lambda item: item[1]) for values in (kept, narrow)]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--coverslip", default="target/release/coverslip")
    parser.add_argument("--bundle", help="a bundle; without it a random one of --shape is made")
    parser.add_argument("--shape", choices=models.SHAPES)
    parser.add_argument("--tiles", help="a folder of images; without it a bundle's reference tiles, or noise")
    parser.add_argument("--count", type=int, default=8)
    args = parser.parse_args()
    command = lambda *arguments: subprocess.run([args.coverslip, *map(str, arguments)], check=True, capture_output=True)
    failed = False
    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch)
        bundle = args.bundle
        if bundle is None:
            models.write(scratch / "model", args.shape)
            source = tiles(args.tiles, 224, 8)
            for i, tile in enumerate(source):
                (scratch / "tiles").mkdir(exist_ok=True)
                Image.fromarray(tile).save(scratch / f"tiles/{i}.png")
            bundle = scratch / "bundle"
            command("bundle", "build", "--weights", scratch / "model/model.safetensors", "--model",
                    scratch / "model/model.json", "--sae", scratch / "model/sae", "--tiles", scratch / "tiles",
                    "--name", args.shape, "--licence", "CC0-1.0", "--source", "random", "--out", bundle)
        paths = {}
        for precision in ("fp32", *ALLOWED):
            paths[precision] = scratch / f"{precision}.onnx"
            command("bundle", "export-onnx", bundle, "--precision", precision, "--out", paths[precision])
            onnx.checker.check_model(str(paths[precision]), full_check=True)
        side = onnx.load(paths["fp32"]).graph.input[0].type.tensor_type.shape.dim[1].dim_value
        if args.bundle and args.tiles is None:
            with safe_open(Path(bundle) / "reference.safetensors", "numpy") as reference:
                pixels = reference.get_tensor("tiles")
        else:
            pixels = tiles(args.tiles, side, args.count)
        expected = run(paths["fp32"], pixels)
        print(f"{args.bundle or args.shape}: {len(pixels)} tiles of {args.tiles or (args.bundle and 'its own') or 'noise'}")
        (kept, largest), (narrow, value) = stream(paths["fp32"], pixels)
        print(f"  largest of the residual stream {largest:.1f} ({kept}), of what is narrow {value:.1f} ({narrow})")
        for precision, (cosine, distance, overlap) in ALLOWED.items():
            engines = {"PyTorch": lambda path: graph.outputs(path, pixels)}
            if precision != "bf16":
                engines["ONNX Runtime"] = lambda path: run(path, pixels)
            for engine, outputs in engines.items():
                found = figures(expected, outputs(paths[precision]))
                ok = found[0] <= cosine and found[1] <= distance and found[2] >= overlap
                failed |= not ok
                print(f"  {'ok  ' if ok else 'FAIL'} {precision:8} on {engine:12} 1-cos {found[0]:.1e} (≤ {cosine:.0e}), "
                      f"features {found[1]:.1e} (≤ {distance}), overlap {found[2]:.4f} (≥ {overlap}), "
                      f"error ±{found[3]:.1e}", flush=True)
    sys.exit(failed)


if __name__ == "__main__":
    main()
