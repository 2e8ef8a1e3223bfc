"""Step 0: which of the teacher's twelve blocks the student shall follow.

Every block's output, as mean over the patch tokens, is asked three things on images that may be looked at: BreCaHAD, which
trains, and colon, which chooses. How well a ridge regression reads BreCaHAD's nuclei on images that it was not fitted on;
how often one names colon's tissue; how often a perturbed tile finds its own clean one. The last column is what the
student starts from: how far a linear map from the third block's tokens, fitted on the other sources, reaches a block.
"""
import numpy as np
import torch

import data
import distil
import perturb
from evaluate import nearest
from teacher import trunk

BLOCKS = tuple(range(1, 13))
PENALTIES = (0.1, 1.0, 10.0, 100.0)


def read_by(run, tiles):
    """Means [block, n, 384] and every eighth patch token [block, n, 32, 384]."""
    means, some = [], []
    for i in range(0, len(tiles), 8):
        blocks = np.stack(run(tiles[i:i + 8]))
        means.append(blocks[:, :, 1:].mean(2))
        some.append(blocks[:, :, 1::8])
    return np.concatenate(means, 1), np.concatenate(some, 1)


def ridge(x, y, penalty):
    """f(x): a linear map, by the kernel, as there are fewer rows than columns."""
    mx, my = x.mean(0), y.mean(0)
    k = (x - mx) @ (x - mx).T
    w = (x - mx).T @ np.linalg.solve(k + penalty * np.trace(k) / len(k) * np.eye(len(k)), y - my)
    return lambda z: (z - mx) @ w + my


def on_others(x, y, groups, folds=10):
    """Predictions for groups that a map was not fitted on; its penalty is chosen by one fold of the others."""
    x = (x - x.mean(0)) / (x.std(0) + 1e-6)
    out, fold = np.zeros(y.shape), np.unique(groups, return_inverse=True)[1] % folds
    for i in range(folds):
        test, inner = fold == i, fold == (i + 1) % folds
        miss = lambda p: np.square(ridge(x[~test & ~inner], y[~test & ~inner], p)(x[inner]) - y[inner]).sum()
        out[test] = ridge(x[~test], y[~test], min(PENALTIES, key=miss))(x[test])
    return out


def found(seen, gallery):
    """How often the perturbed form of every second tile is nearest to its own clean one."""
    return nearest(torch.tensor(seen), torch.tensor(gallery), torch.arange(len(gallery))[::2]).mean()


def main():
    a = data.arguments().parse_args()
    rng, run = np.random.default_rng(3), trunk(a.work, a.threads, blocks=BLOCKS)
    every = data.fields(a.data)
    breast = [f for f in every if f.source == "brecahad"]
    tissue = ("tcga", "tcga_coarse", "lymph_node", "bone", "fat", "fat_stroma")
    crops = [data.crop(f, rng) for f in breast for _ in range(6)]
    nuclei, images = np.log1p([n for _, n in crops]), np.repeat(np.arange(len(breast)), 6)
    colon = data.selection(a.data)
    kinds = np.array([f.label for f in colon])
    is_kind = (kinds[:, None] == np.unique(kinds)).astype(float)
    tiles = {"breast": np.stack([t for t, _ in crops]), "colon": np.stack([data.middle(f.pixels) for f in colon]),
             "others": np.stack([data.crop(f, rng)[0] for f in every if f.source in tissue for _ in range(3)])}
    means, tokens = {}, {}
    for name, t in tiles.items():
        means[name], tokens[name] = read_by(run, t)
    seen = {}
    for kind, f in perturb.perturbations().items():
        for name in ("breast", "colon"):
            noise = np.random.default_rng(7)
            seen[name, kind] = read_by(run, np.stack([f(t, noise) for t in tiles[name][::2]]))[0]
    print("block: r of nuclei, colon's tissue named, R2 from block 3 (breast, colon), found again (breast, colon) after")
    print("  " + ", ".join(perturb.perturbations()))
    for i, block in enumerate(BLOCKS):
        r = np.corrcoef(on_others(means["breast"][i], nuclei, images), nuclei)[0, 1]
        named = on_others(means["colon"][i], is_kind, np.arange(len(kinds))).argmax(1) == is_kind.argmax(1)
        of_all = lambda block: torch.tensor(tokens["others"][block].reshape(-1, 384))
        w, bias = (v.numpy() for v in distil.ridge(of_all(2), of_all(i), 1e-2))
        reach = []
        for name in ("breast", "colon"):
            guess, is_ = (tokens[name][2] @ w.T + bias).mean(1), tokens[name][i].mean(1)
            reach.append(1 - np.square(guess - is_).sum() / np.square(is_ - is_.mean(0)).sum())
        again = [found(seen[name, kind][i], means[name][i]) for name in ("breast", "colon") for kind in perturb.perturbations()]
        print(f"{block}: {r:.2f}, {named.mean():.2f}, {reach[0]:.2f}, {reach[1]:.2f}; " + " ".join(f"{v:.2f}" for v in again), flush=True)


if __name__ == "__main__":
    main()
