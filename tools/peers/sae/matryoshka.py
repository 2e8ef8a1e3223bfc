"""Coverslip's Matryoshka SAE beside dictionary_learning's, and beside Coverslip's BatchTopK: the same embeddings, the same
held-out slides, steps, rows, features and prefixes (1/16, 1/8, 1/4, 1/2 and all), two threads.

    python matryoshka.py --coverslip BINARY --embeddings E.safetensors --tap T --work DIR --out RESULT.json
                         [--seeds 3] [--steps 500] [--batch 256] [--expansion 8] [--k 16 32]

All are measured with the k largest features per held-out tile on average, chosen over all held-out tiles: thresholds, which
a short run has not learnt, play no part. FVU is given for all features and for each prefix alone, in medians over seeds.
"""

import argparse
import json
import pathlib
import statistics

import numpy as np
import torch
from compare import batches, coverslip, fvu, rows_of
from safetensors.numpy import load_file

FRACTIONS = [1 / 16, 1 / 16, 1 / 8, 1 / 4, 1 / 2]


def prefixes(x, w_enc, b_enc, w_dec, b_dec, k):
    """FVU of each prefix, all last; w_enc [d, m]."""
    p = np.maximum((x - b_dec) @ w_enc + b_enc, 0)
    bar = np.partition(p.ravel(), -k * len(x))[-k * len(x)]
    features = p * (p >= bar)
    ends = np.round(np.cumsum(FRACTIONS) * p.shape[1]).astype(int)
    return [fvu(x, features[:, :end], w_dec[:end], b_dec) for end in ends]


def peer(args, k, seed, train):
    from dictionary_learning.trainers.matryoshka_batch_top_k import MatryoshkaBatchTopKTrainer

    trainer = MatryoshkaBatchTopKTrainer(
        steps=args.steps, activation_dim=train.shape[1], dict_size=args.expansion * train.shape[1], k=k, layer=0, lm_name="",
        group_fractions=FRACTIONS, device="cpu", seed=seed, warmup_steps=args.steps // 20,
        decay_start=args.steps - args.steps // 5,
    )
    for step, x in enumerate(batches(train, args.steps, args.batch, seed)):
        trainer.update(step, x)
    return [trainer.ae.state_dict()[name].numpy() for name in ("W_enc", "b_enc", "W_dec", "b_dec")]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    for name in ("coverslip", "embeddings", "tap", "work", "out"):
        parser.add_argument(f"--{name}", required=True)
    for name, default in (("seeds", 3), ("steps", 500), ("batch", 256), ("expansion", 8)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--k", type=int, nargs="*", default=[16, 32])
    args = parser.parse_args()
    torch.set_num_threads(2)
    x, slides = rows_of(args.embeddings, args.tap)
    found = {}
    for k in args.k:
        for seed in range(args.seeds):
            for arch in ("matryoshka", "batchtopk"):
                options = ["--arch", arch, "--k", k, "--seed", seed]
                _, scale = coverslip(args, arch, options, x[:256], 1.0)
                folder = pathlib.Path(args.work) / arch
                held = np.isin(slides, json.load(open(folder / "split.json"))["held_out"])
                w = load_file(folder / "sae_weights.safetensors")
                own = prefixes(x[held], w["W_enc"], w["b_enc"], w["W_dec"], w["b_dec"], k)
                found.setdefault(f"coverslip {arch}, k {k}", []).append(own)
            scaled = x * np.float32(scale)
            theirs = prefixes(scaled[held], *peer(args, k, seed, scaled[~held]), k)
            found.setdefault(f"dictionary_learning matryoshka, k {k}", []).append(theirs)
    for who, runs in found.items():
        print(who, [round(statistics.median(run[level] for run in runs), 3) for level in range(len(FRACTIONS))], runs)
    json.dump({"args": vars(args), "found": found}, open(args.out, "w"), indent=1)


if __name__ == "__main__":
    main()
