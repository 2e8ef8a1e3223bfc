"""Coverslip's Matryoshka SAE in SAELens, and SAELens' in Coverslip: each reads what the other has trained on the same embeddings,
and must find the same features, reconstructions, FVU and L0 on the held-out slides. Beside it the FVU of every prefix.

    python saelens.py --coverslip BINARY --embeddings E.safetensors --tap T --work DIR --out RESULT.json
                      [--seeds 2] [--steps 500] [--batch 256] [--expansion 8] [--k 32]

SAELens trains with its own MatryoshkaBatchTopKTrainingSAE and SAETrainer: the same rows, steps, prefixes, step size, warm-up and
decay, otherwise its defaults. Both are saved as inference models, which are JumpReLU with one threshold. Ends with 1 where
something differs.

Tolerances: both sum products in float32, in another order: 1e-5 of the largest value. A feature may be active on one side
alone only where it is that near to its threshold. FVU and L0 of the same files: 1e-5 of themselves and 1e-3.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys

import numpy as np
import torch
from compare import batches, coverslip, rows_of
from matryoshka import FRACTIONS, prefixes
from sae_lens import SAE
from sae_lens.config import SAETrainerConfig
from sae_lens.saes.matryoshka_batchtopk_sae import MatryoshkaBatchTopKTrainingSAE, MatryoshkaBatchTopKTrainingSAEConfig
from sae_lens.training.sae_trainer import SAETrainer
from safetensors.numpy import load_file

VALUES, FVU, L0 = 1e-5, 1e-5, 1e-3


def trained(args, seed, train, lr, out):
    """SAELens' own training, saved for inference."""
    torch.manual_seed(seed)
    d, m = train.shape[1], args.expansion * train.shape[1]
    widths = np.round(np.cumsum(FRACTIONS) * m).astype(int).tolist()
    sae = MatryoshkaBatchTopKTrainingSAE(
        MatryoshkaBatchTopKTrainingSAEConfig(
            d_in=d, d_sae=m, k=args.k, matryoshka_widths=widths, device="cpu", dtype="float32", use_sparse_activations=False
        )
    )
    with torch.no_grad():
        # Its default is 0, which its pipelines meet with activations that are centred.
        sae.b_dec.copy_(torch.from_numpy(train.mean(0)))
    config = SAETrainerConfig(
        total_training_samples=args.steps * args.batch, train_batch_size_samples=args.batch, lr=lr, lr_end=0.0,
        lr_warm_up_steps=args.steps // 20, lr_decay_steps=args.steps // 5,
    )  # fmt: skip
    SAETrainer(config, sae, batches(train, args.steps + 1, args.batch, seed)).fit()
    sae.save_inference_model(out)


def theirs(folder, x):
    """Features and reconstructions by SAELens."""
    sae = SAE.load_from_disk(folder)
    with torch.no_grad():
        features = sae.encode(torch.from_numpy(x))
        features = features.to_dense() if features.is_sparse else features
        return features.numpy(), sae.decode(features).numpy(), sae.cfg.architecture()


def written_out(folder, x):
    """Features, reconstructions and how far each feature is above its threshold, in float64 from the files."""
    w = {name: value.astype(np.float64) for name, value in load_file(folder / "sae_weights.safetensors").items()}
    bias = w["b_dec"] if json.load(open(folder / "cfg.json"))["apply_b_dec_to_input"] else 0.0
    p = (x - bias) @ w["W_enc"] + w["b_enc"]
    features = np.maximum(p, 0) * (p > w["threshold"])
    return features, features @ w["W_dec"] + w["b_dec"], p - w["threshold"]


def compared(name, folder, x, own, failed):
    """SAELens and float64 on the same files, and both beside what `sae eval` says of them."""
    features, decoded, architecture = theirs(folder, x)
    exact, reconstructed, above = written_out(folder, x)
    largest = np.abs(exact).max()
    one_side = (features != 0) != (exact != 0)
    near = bool((np.abs(above[one_side]) <= VALUES * largest).all())
    apart = float(np.abs(np.where(one_side, 0, features - exact)).max() / largest)
    away = float(np.abs(decoded - reconstructed)[~one_side.any(1)].max() / np.abs(reconstructed).max())
    error = ((x - decoded).astype(np.float64) ** 2).sum() / ((x - x.mean(0, dtype=np.float64)) ** 2).sum()
    l0 = float((features != 0).sum(1).mean())
    ok = apart <= VALUES and away <= VALUES and near and abs(error - own["fvu"]) <= FVU * error and abs(l0 - own["l0"]) <= L0
    failed.append(not ok)
    print(
        f"{'ok  ' if ok else 'FAIL'} {name}, read by SAELens as {architecture}: features within {apart:.1e} of the largest,",
        f"{int(one_side.sum())} at their threshold, reconstructions within {away:.1e};",
        f"FVU {error:.5f} and {own['fvu']:.5f} by `sae eval`, L0 {l0:.2f} and {own['l0']:.2f}",
        flush=True,
    )


def evaluated(args, folders, split):
    """What `coverslip sae eval` says."""
    out = pathlib.Path(args.work) / "report"
    command = [args.coverslip, "sae", "eval", *folders, "--embeddings", args.embeddings, "--tap", args.tap, "--split", split]
    command += ["--baseline-steps", 0, "--out", out]
    subprocess.run([str(part) for part in command], check=True, stdout=subprocess.PIPE)
    return json.load(open(out / "sae-eval.json"))["saes"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    for name in ("coverslip", "embeddings", "tap", "work", "out"):
        parser.add_argument(f"--{name}", required=True)
    for name, default in (("seeds", 2), ("steps", 500), ("batch", 256), ("expansion", 8), ("k", 32)):
        parser.add_argument(f"--{name}", type=int, default=default)
    args = parser.parse_args()
    x, slides = rows_of(args.embeddings, args.tap)
    lr = 2e-4 * (2**14 / (args.expansion * x.shape[1])) ** 0.5
    # Steps are small; a second thread waits for the first more than it helps.
    torch.set_num_threads(1)
    found, failed = {}, []
    for seed in range(args.seeds):
        _, scale = coverslip(args, "own", ["--arch", "matryoshka", "--k", args.k, "--seed", seed], x[:256], 1.0)
        own, peer = pathlib.Path(args.work) / "own", pathlib.Path(args.work) / "peer"
        held = np.isin(slides, json.load(open(own / "split.json"))["held_out"])
        # In Coverslip's units; the inference model takes the embeddings as they are.
        trained(args, seed, x[~held] * np.float32(scale), lr, peer)
        unscale(peer, scale)
        for (name, folder), figures in zip((("coverslip", own), ("sae_lens", peer)), evaluated(args, [own, peer], own / "split.json")):
            compared(f"{name}, seed {seed}", folder, x[held], figures, failed)
            w = load_file(folder / "sae_weights.safetensors")
            # x·W + b = (x − b_dec)·W + (b + b_dec·W)
            centred = json.load(open(folder / "cfg.json"))["apply_b_dec_to_input"]
            b_enc = w["b_enc"] if centred else w["b_enc"] + w["b_dec"] @ w["W_enc"]
            found.setdefault(name, []).append(prefixes(x[held], w["W_enc"], b_enc, w["W_dec"], w["b_dec"], args.k))
    for who, runs in found.items():
        print(who, [round(statistics.median(run[level] for run in runs), 3) for level in range(len(FRACTIONS))], runs)
    json.dump({"args": vars(args), "found": found}, open(args.out, "w"), indent=1)
    sys.exit(any(failed))


def unscale(folder, scale):
    """The SAE of x from that of scale·x, as SAELens folds a norm into its weights."""
    from safetensors.numpy import save_file

    w = load_file(folder / "sae_weights.safetensors")
    w["W_enc"], w["W_dec"], w["b_dec"] = w["W_enc"] * scale, w["W_dec"] / scale, w["b_dec"] / scale
    save_file({name: np.ascontiguousarray(value.astype(np.float32)) for name, value in w.items()}, folder / "sae_weights.safetensors")


if __name__ == "__main__":
    main()
