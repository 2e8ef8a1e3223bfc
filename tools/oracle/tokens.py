"""Compares the patch tokens that `coverslip embed --patch-tokens` writes for real tiles with onnxruntime on the bundle's
graph and with the float64 transcription, row by row, each at the place that the table names. Exits with 1 where a token is
another one's or a tolerance is passed.

    target/oracle/bin/python tools/oracle/tokens.py --coverslip target/release/coverslip
"""

import argparse
import csv
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

import tensors
from oracle import EMBEDDING, ROOT, Report, Tool, find_coverslip, one_minus_cosine, onnx_session, real_tiles
from transcription import Model

PER_TILE = 24


def model_json(manifest):
    """What the weights do not say, and a tap of tokens behind each block, before or after the final norm."""
    a = manifest["architecture"]
    last = a["depth"] - 1
    return {
        "num_heads": a["heads"], "layer_norm_eps": a["layer_norm_eps"], "patch_size": a["patch"], "img_size": manifest["side"],
        "architecture": "vit", "activation": "gelu", "class_token": a["class_token"],
        "register_tokens": a["register_tokens"],
        "mpp": manifest["mpp"], "mean": manifest["mean"], "std": manifest["std"],
        "name": "tokens", "licence": manifest["licence"], "source": manifest["source"],
        "taps": [
            {"name": "first", "block": 0, "pooling": "patch_tokens"},
            {"name": "pooled", "block": last, "after_norm": True, "pooling": "mean_patch_tokens"},
            {"name": "final", "block": last, "after_norm": True, "pooling": "patch_tokens"},
        ],
    }  # fmt: skip


def transcribed(bundle, tiles):
    """Patch tokens of each tap by tile, float64."""
    model = Model.__new__(Model)
    model.manifest = json.loads((bundle / "manifest.json").read_text())
    model.vit = {k: v.astype(np.float64) for k, v in tensors.load(bundle / "model.safetensors").items()}
    taps = [tap for tap in model.manifest["taps"] if tap["pooling"] == "patch_tokens"]
    found = {tap["name"]: [] for tap in taps}
    for tile in tiles:
        tokens = model.embed(tile)
        for block in range(model.manifest["architecture"]["depth"]):
            tokens = model.block(tokens, f"blocks.{block}.")
            for tap in taps:
                if tap["after_block"] == block:
                    found[tap["name"]].append(model.pool(tokens, tap).reshape(-1, tokens.shape[1]))
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--coverslip", type=Path, default=find_coverslip(), help="the built command")
    parser.add_argument("--bundle", type=Path, default=ROOT / "bundles/demo", help="a bundle of a ViT whose weights are taken")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared/data", help="where he_tiles/*.png are")
    arguments = parser.parse_args()
    manifest = json.loads((arguments.bundle / "manifest.json").read_text())
    tiles = real_tiles(arguments.data, manifest["side"], 6)
    if tiles is None:
        sys.exit(f"no images of {manifest['side']} px in {arguments.data}/he_tiles")
    report = Report()
    with tempfile.TemporaryDirectory() as work:
        work = Path(work)
        tool, bundle = Tool(arguments.coverslip, work, report, []), work / "tokens"
        (work / "model.json").write_text(json.dumps(model_json(manifest)))
        (work / "tiles").mkdir()
        for number, tile in enumerate(tiles):
            Image.fromarray(tile).save(work / f"tiles/t{number}.png")
        weights = arguments.bundle / "model.safetensors"
        tool.call("build", "--weights", weights, "--model", work / "model.json", "--tiles", work / "tiles", "--out", bundle)
        session = onnx_session(tool, bundle)
        graph = dict(zip([output.name for output in session.get_outputs()], session.run(None, {"pixels": tiles})))
        exact = transcribed(bundle, tiles)
        for tap in exact:
            width = exact[tap][0].shape[1]
            onnx = graph[f"embedding_{tap}"].reshape(len(tiles), -1, width)
            grid = int(np.sqrt(onnx.shape[1]))
            out = work / f"{tap}.safetensors"
            command = [arguments.coverslip, "embed", work / "tiles", "--bundle", bundle, "--out", out, "--field", "tile", "--mpp",
                       manifest["mpp"], "--background", "--patch-tokens", tap, "--tokens-per-tile", PER_TILE]  # fmt: skip
            subprocess.run([str(word) for word in command], check=True, stdout=subprocess.DEVNULL)
            rows = list(csv.DictReader(open(out.with_suffix(".csv"))))
            found = tensors.load(out)[f"embedding_{tap}"]
            places = [(int(row["tile"][1:]), int(row["token_row"]) * grid + int(row["token_column"])) for row in rows]
            assert len(places) == len(set(places)) == len(found) == PER_TILE * len(tiles), len(places)
            expected = {"float64": np.stack([exact[tap][tile][at] for tile, at in places]),
                        "onnxruntime": np.stack([onnx[tile, at] for tile, at in places])}  # fmt: skip
            for who, values in expected.items():
                report.line(f"{tap}, {len(rows)} tokens : {who}", [("1-cos", EMBEDDING, [one_minus_cosine(values, found)])])
            # The nearest token of a tile is the one at the place that the row names.
            nearest = [((exact[tap][tile] - token) ** 2).sum(1).argmin() for (tile, _), token in zip(places, found)]
            wrong = sum(int(at != near) for (_, at), near in zip(places, nearest))
            report.line(f"{tap}, places", [("another token is nearer", 0, [wrong])])
    sys.exit(report.failed)


if __name__ == "__main__":
    main()
