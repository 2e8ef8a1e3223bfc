"""Coverslip's SAE trainer beside EleutherAI's sparsify (TopK) and dictionary_learning (TopK, L1): the same embeddings, the same
held-out slides, as many steps of as many rows, the same number of features, two threads; FVU of all by one function.

    python compare.py --coverslip BINARY --embeddings E.safetensors --tap T --work DIR --out RESULT.json
                      [--seeds 5] [--steps 1500] [--peers sparsify dictionary_learning] [--batch 256] [--expansion 8] [--k 8 16 32] [--l1 ...]

Peers get the embeddings multiplied by the factor that Coverslip uses (mean ||x - mean||^2 = width), which changes no FVU.
Runs of one seed follow each other, so that what else the machine does meets all alike; a step's time is that of the optimiser's
step with everything in it, without reading, the median over a run's steps for the peers, the mean for Coverslip (which counts
against it).

sparsify has an optimiser loop around language models only: its SparseCoder is trained here by its own defaults for `adam`
(sparsify/trainer.py: lr 2e-4 / sqrt(m / 2^14), linear warm-up and decay, unit-norm decoder, the gradient's part along it
removed), with the learning-rate schedule of the others.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import time

import numpy as np
import torch
from safetensors.numpy import load_file

torch.set_num_threads(2)
os.environ["SPARSIFY_DISABLE_TRITON"] = "1"  # there is no GPU here


def rows_of(embeddings, tap):
    import csv

    x = load_file(embeddings)[f"embedding_{tap}"].astype(np.float32)
    slides = [row["slide"] for row in csv.DictReader(open(embeddings.replace(".safetensors", ".csv")))]
    return x, np.array(slides)


def fvu(x, features, decoder, bias):
    """The one code: sum ||x - x'||^2 / sum ||x - mean x||^2, in float64."""
    error = x.astype(np.float64) - (features.astype(np.float64) @ decoder.astype(np.float64) + bias.astype(np.float64))
    return float((error**2).sum() / ((x - x.mean(0, dtype=np.float64)) ** 2).sum())


def top(p, k):
    out = np.zeros_like(p)
    places = np.argpartition(-p, k - 1, axis=1)[:, :k]
    np.put_along_axis(out, places, np.maximum(np.take_along_axis(p, places, 1), 0), 1)
    return out


def measured(x, w_enc, b_enc, w_dec, b_dec, k):
    """w_enc [d, m]. With k TopK, else ReLU."""
    p = (x - b_dec) @ w_enc + b_enc
    features = top(p, k) if k else np.maximum(p, 0)
    active = features > 0
    return {"fvu": fvu(x, features, w_dec, b_dec), "l0": float(active.sum(1).mean()), "dead": int((~active.any(0)).sum())}


def batches(train, steps, batch, seed):
    """Epochs in random order."""
    random = np.random.default_rng(seed)
    order = np.empty(0, int)
    for _ in range(steps):
        while len(order) < batch:
            order = np.concatenate([order, random.permutation(len(train))])
        yield torch.from_numpy(train[order[:batch]])
        order = order[batch:]


def coverslip(args, name, options, held_out, scale):
    out = pathlib.Path(args.work) / name
    command = [args.coverslip, "sae", "train", "--embeddings", args.embeddings, "--tap", args.tap, "--out", str(out)]
    command += ["--steps", args.steps, "--batch", args.batch, "--expansion", args.expansion, "--threads", 2, "--restart"]
    subprocess.run([str(part) for part in command + options], check=True, stdout=subprocess.PIPE)
    w = load_file(out / "sae_weights.safetensors")
    config = json.load(open(out / "cfg.json"))
    found = measured(held_out, w["W_enc"], w["b_enc"], w["W_dec"], w["b_dec"], config.get("k"))
    details = config["metadata"]["training_details"]
    return {**found, "ms": 1e3 * details["seconds_per_step"]}, details["activation_scale"]


def timed(step, data):
    times = []
    for x in data:
        begun = time.perf_counter()
        step(x)
        times.append(time.perf_counter() - begun)
    return 1e3 * statistics.median(times)


def sparsify_topk(args, k, seed, train, held_out, scale):
    from sparsify import SparseCoder, SparseCoderConfig

    torch.manual_seed(seed)
    d, m = train.shape[1], args.expansion * train.shape[1]
    sae = SparseCoder(d, SparseCoderConfig(expansion_factor=args.expansion, k=k))
    # As its trainer does with the first batch: b_dec begins at the mean.
    sae.b_dec.data = torch.from_numpy(train.mean(0))
    optimizer = torch.optim.Adam(sae.parameters(), lr=2e-4 / (m / 2**14) ** 0.5)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, schedule_of(args.steps))

    def step(x):
        optimizer.zero_grad()
        sae(x).fvu.backward()
        sae.remove_gradient_parallel_to_decoder_directions()
        optimizer.step()
        schedule.step()
        sae.set_decoder_norm_to_unit_norm()

    ms = timed(step, batches(train, args.steps, args.batch, seed))
    w = {name: value.detach().numpy() for name, value in sae.named_parameters()}
    parts = w["encoder.weight"].T, w["encoder.bias"], w["W_dec"], w["b_dec"]
    return {**measured(held_out, *parts, k), "ms": ms}


def schedule_of(steps):
    """5 % warm-up, the last 20 % down to nothing: what Coverslip does."""
    warmup, decay = steps // 20, steps // 5
    return lambda step: min((step + 1) / warmup, 1.0, (steps - step) / decay)


def dictionary(args, kind, value, seed, train, held_out, scale):
    from dictionary_learning.trainers.standard import StandardTrainer
    from dictionary_learning.trainers.top_k import TopKTrainer

    d, m = train.shape[1], args.expansion * train.shape[1]
    common = dict(
        steps=args.steps, activation_dim=d, dict_size=m, layer=0, lm_name="", device="cpu", seed=seed,
        warmup_steps=args.steps // 20, decay_start=args.steps - args.steps // 5,
    )
    if kind == "topk":
        trainer = TopKTrainer(k=value, **common)
    else:
        lr = 2e-4 / (m / 2**14) ** 0.5
        trainer = StandardTrainer(l1_penalty=value, lr=lr, sparsity_warmup_steps=args.steps // 20, **common)
        # It begins at zero; with the mean it begins where the others do.
        trainer.ae.bias.data = torch.from_numpy(train.mean(0))
    steps = iter(range(args.steps))
    ms = timed(lambda x: trainer.update(next(steps), x), batches(train, args.steps, args.batch, seed))
    w = {name: value.detach().numpy() for name, value in trainer.ae.named_parameters()}
    bias = w["b_dec"] if kind == "topk" else w["bias"]
    parts = w["encoder.weight"].T, w["encoder.bias"], w["decoder.weight"].T, bias
    return {**measured(held_out, *parts, value if kind == "topk" else None), "ms": ms}


def main():
    parser = argparse.ArgumentParser()
    for name in ("coverslip", "embeddings", "tap", "work", "out"):
        parser.add_argument(f"--{name}", required=True)
    for name, default in (("seeds", 5), ("steps", 1500), ("batch", 256), ("expansion", 8)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--k", type=int, nargs="*", default=[8, 16, 32])
    parser.add_argument("--l1", type=float, nargs="*", default=[])
    args = parser.parse_args()
    x, slides = rows_of(args.embeddings, args.tap)
    # One step shows the split and the scale.
    steps, args.steps = args.steps, 1
    _, scale = coverslip(args, "probe", ["--k", 1], x, 1.0)
    args.steps = steps
    held = set(json.load(open(pathlib.Path(args.work) / "probe/split.json"))["held_out"])
    is_held = np.array([slide in held for slide in slides])
    train, held_out = x[~is_held] * np.float32(scale), x[is_held]
    scaled = held_out * np.float32(scale)
    print(f"{len(train)} rows to train on, {len(held_out)} of {len(held)} slides held out", flush=True)
    results = []

    def note(who, kind, value, seed, found):
        results.append({"who": who, "kind": kind, "value": value, "seed": seed, **found})
        print(who, kind, value, seed, {key: round(v, 5) for key, v in found.items()}, flush=True)
        json.dump({"args": vars(args), "results": results}, open(args.out, "w"), indent=1)

    for seed in range(args.seeds):
        for k in args.k:
            options = ["--arch", "topk", "--k", k, "--seed", seed]
            note("coverslip", "topk", k, seed, coverslip(args, "topk", options, held_out, scale)[0])
            note("sparsify", "topk", k, seed, sparsify_topk(args, k, seed, train, scaled, scale))
            note("dictionary_learning", "topk", k, seed, dictionary(args, "topk", k, seed, train, scaled, scale))
        for l1 in args.l1:
            options = ["--arch", "relu", "--l1", l1, "--seed", seed]
            note("coverslip", "l1", l1, seed, coverslip(args, "l1", options, held_out, scale)[0])
            note("dictionary_learning", "l1", l1, seed, dictionary(args, "l1", l1, seed, train, scaled, scale))


if __name__ == "__main__":
    main()
