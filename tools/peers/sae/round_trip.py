"""An SAE of `coverslip sae train` in SAELens: the same features and reconstructions as NumPy float64 computes from the same files.

    python round_trip.py SAE... --embeddings E.safetensors --tap T
"""

import argparse
import json
import pathlib

import numpy as np
import torch
from safetensors.numpy import load_file
from sae_lens import SAE


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("saes", type=pathlib.Path, nargs="+")
    parser.add_argument("--embeddings", required=True)
    parser.add_argument("--tap", required=True)
    args = parser.parse_args()
    x = load_file(args.embeddings)[f"embedding_{args.tap}"].astype(np.float32)[:2000]
    for path in args.saes:
        w = {name: value.astype(np.float64) for name, value in load_file(path / "sae_weights.safetensors").items()}
        config = json.load(open(path / "cfg.json"))
        p = (x - w["b_dec"]) @ w["W_enc"] + w["b_enc"]
        if config["architecture"] == "topk":
            places = np.argsort(-p, 1, kind="stable")[:, : config["k"]]
            features = np.zeros_like(p)
            np.put_along_axis(features, places, np.maximum(np.take_along_axis(p, places, 1), 0), 1)
        else:
            features = np.maximum(p, 0) * (p > w.get("threshold", 0.0))
        decoded = features @ w["W_dec"] + w["b_dec"]
        sae = SAE.load_from_disk(path)
        with torch.no_grad():
            theirs = sae.encode(torch.from_numpy(x))
            theirs = theirs.to_dense() if theirs.is_sparse else theirs
            reconstruction = sae.decode(theirs)
        size = np.abs(features).max()
        print(
            path.name, config["architecture"],
            f"features differ by at most {np.abs(theirs.numpy() - features).max() / size:.1e} of the largest,",
            f"reconstructions by {np.abs(reconstruction.numpy() - decoded).max() / np.abs(decoded).max():.1e}",
        )


main()
