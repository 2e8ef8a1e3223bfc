"""Tables out of compare.py's file: medians over seeds, spread, ratios; L1 at equal L0 by interpolation.

    python summary.py RESULT.json
"""

import json
import sys

import numpy as np


def main():
    results = json.load(open(sys.argv[1]))["results"]
    pick = lambda **wanted: [r for r in results if all(r[key] == value for key, value in wanted.items())]
    for k in sorted({r["value"] for r in pick(kind="topk")}):
        ours = pick(kind="topk", value=k, who="coverslip")
        for who in ("coverslip", "sparsify", "dictionary_learning"):
            theirs = pick(kind="topk", value=k, who=who)
            if not theirs:
                continue
            by_seed = {r["seed"]: r for r in theirs}
            pairs = [(o, by_seed[o["seed"]]) for o in ours if o["seed"] in by_seed]
            fvu = np.array([r["fvu"] for r in theirs])
            ratio = np.median([o["fvu"] / t["fvu"] for o, t in pairs])
            time = np.median([o["ms"] / t["ms"] for o, t in pairs])
            print(
                f"topk {k:>3} {who:<20} FVU {np.median(fvu):.4f} ({fvu.min():.4f}-{fvu.max():.4f}) dead {np.median([r['dead'] for r in theirs]):5.0f} "
                f"{np.median([r['ms'] for r in theirs]):6.2f} ms | ours/theirs FVU {ratio:.3f} time {time:.2f} n {len(pairs)}"
            )
    values = sorted({r["value"] for r in pick(kind="l1")})
    if not values:
        return
    for who in ("coverslip", "dictionary_learning"):
        for value in values:
            runs = pick(kind="l1", value=value, who=who)
            line = [np.median([r[key] for r in runs]) for key in ("l0", "fvu", "dead", "ms")]
            print(f"l1 {value:<6} {who:<20} L0 {line[0]:7.1f} FVU {line[1]:.4f} dead {line[2]:5.0f} {line[3]:6.2f} ms")
    # FVU at equal L0: each side's curve over lambda per seed, in log L0.
    for seed in sorted({r["seed"] for r in pick(kind="l1")}):
        curves = {}
        for who in ("coverslip", "dictionary_learning"):
            runs = sorted(pick(kind="l1", seed=seed, who=who), key=lambda r: r["l0"])
            curves[who] = np.array([(np.log(r["l0"]), r["fvu"]) for r in runs])
        ours, theirs = curves["coverslip"], curves["dictionary_learning"]
        low, high = max(ours[0, 0], theirs[0, 0]), min(ours[-1, 0], theirs[-1, 0])
        at = np.linspace(low, high, 5)
        ratio = np.interp(at, ours[:, 0], ours[:, 1]) / np.interp(at, theirs[:, 0], theirs[:, 1])
        pairs = [(o, t) for o in pick(kind="l1", seed=seed, who="coverslip") for t in pick(kind="l1", seed=seed, who="dictionary_learning", value=o["value"])]
        time = np.median([o["ms"] / t["ms"] for o, t in pairs])
        shown = ", ".join(f"{r:.3f} at L0 {np.exp(a):.0f}" for a, r in zip(at, ratio))
        print(f"l1 seed {seed}: FVU ours/theirs {shown}; time {time:.2f}")


main()
