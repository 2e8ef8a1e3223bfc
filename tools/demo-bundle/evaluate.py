"""Step 4: the card's figures, with float16-rounded weights in float32. This opens the held-out sets.

The maps to the teacher are fitted on clean training crops and applied as they are. Intervals are percentiles of 2,000
bootstrap samples of whole groups: runs of NuInsSeg's index, patients, slides.
"""
import json
import time

import numpy as np
import torch
import torch.nn.functional as F

import data
import distil
import model
import perturb
import sae as sae_step
from teacher import in_batches, trunk

QUANTILES = [0.5, 0.75, 0.9, 0.95, 0.99, 0.999]
SETS = ["selection", "nuinsseg", "tnbc", "aperio", "hamamatsu", "cmu1"]
BOOTSTRAPS = 2000


def agreement(pred, y):
    """R2 about the evaluation set's own mean, and the cosine after taking that mean from both."""
    m = y.mean(0)
    return {"r2": float(1 - (pred - y).square().sum() / (y - m).square().sum()),
            "centred_cosine": float(F.cosine_similarity(pred - m, y - m, dim=1).mean())}


def nearest(seen, gallery, own):
    """Whether a tile's nearest clean one, by cosine about the gallery's mean, is its own."""
    m = gallery.mean(0)
    sim = F.normalize(seen - m, dim=1) @ F.normalize(gallery - m, dim=1).T
    return (sim.argmax(1) == own).float().numpy()


def by_group(groups, statistic, seed=5):
    """The statistic of all rows, and its 95 % interval over samples of whole groups."""
    rng, names = np.random.default_rng(seed), np.unique(groups)
    where = {n: np.flatnonzero(groups == n) for n in names}
    of = [statistic(np.concatenate([where[n] for n in rng.choice(names, len(names))])) for _ in range(BOOTSTRAPS)]
    return {"value": float(statistic(np.arange(len(groups)))), "groups": len(names), "n": len(groups),
            "interval": np.nanpercentile(of, [2.5, 97.5]).round(3).tolist()}


def partial_r(a, b, z):
    """Correlation of a and b after least squares on z and a constant."""
    z = np.column_stack([np.ones(len(a)), z])
    a, b = (v - z @ np.linalg.lstsq(z, v, rcond=None)[0] for v in (a, b))
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))


def across_groups(x, y, groups, folds=8):
    """Predictions of a ridge regression for groups that it was not fitted on; the penalty is chosen inside."""
    out, fold = np.zeros(len(y)), np.unique(groups, return_inverse=True)[1] % folds
    x, y = torch.tensor(np.asarray(x)), torch.tensor(y).float()[:, None]
    x = (x - x.mean(0)) / x.std(0).clamp_min(1e-6)
    for i in range(folds):
        fit, test, inner = fold != i, fold == i, fold == (i + 1) % folds
        def guess(a, b, penalty):
            w, bias = distil.ridge(x[a], y[a], penalty)
            return x[b] @ w.T + bias
        penalty = min((1e-1, 1.0, 10.0, 100.0), key=lambda p: float(
            (guess(fit & ~inner, inner, p) - y[inner]).square().sum()))
        out[test] = guess(fit, test, penalty)[:, 0].numpy()
    return out


def counts(views, vectors, heads):
    """Nuclei beyond colour: by the training's own head as it stands, and by a map fitted across groups."""
    n = np.log1p(views["labels"].astype(float))
    z = np.array([perturb.stain_measures(t) for t in views["tiles"]])
    z = np.column_stack([z, z ** 2])
    x = vectors["student"]
    head = heads.nuclei(x - x.mean(-1, keepdim=True)).detach().numpy()
    guesses = {"head, annotated": head[:, 0], "head, by rule": head[:, 1],
               "the rule itself": np.log1p([perturb.dark_spots(t) for t in views["tiles"]])}
    if len(n) > 100:
        for who, v in vectors.items():
            guesses[f"map across runs, {who}"] = across_groups(v.numpy(), n, views["groups"])
    return {"mean red, haematoxylin and squares, R2": float(1 - np.square(partial_residual(n, z)).sum()
                                                            / np.square(n - n.mean()).sum()),
            **{k: by_group(views["groups"], lambda i, g=g: partial_r(g[i], n[i], z[i])) for k, g in guesses.items()}}


def to_the_last_block(a, views, vectors, crops, fit):
    """R2 and cosine to the teacher's last block, which the student does not follow, by a map of its own."""
    run = trunk(a.work, a.threads, blocks=(12,))
    last = lambda tiles: torch.tensor(in_batches(run, tiles)[:, 1:].mean(1)).float()
    w, b = distil.ridge(vectors["train"][:1200], last(crops.tiles[fit[:1200]]), 1e-2)
    return {name: agreement(vectors[name] @ w.T + b, last(views[name]["tiles"])) for name in SETS}


def partial_residual(a, z):
    z = np.column_stack([np.ones(len(a)), z])
    return a - z @ np.linalg.lstsq(z, a, rcond=None)[0]


def main():
    a = data.arguments().parse_args()
    torch.set_num_threads(a.threads)
    torch.manual_seed(1)
    start = time.time()
    views = {s: dict(np.load(a.work / f"views_{s}.npz")) for s in SETS}
    saved = torch.load(a.work / "student.pt")
    student = sae_step.load_student(a.work / "student.pt")
    heads = distil.Heads()
    heads.load_state_dict(saved["heads"])
    crops = distil.Crops(a.work)
    before = distil.narrow(distil.teacher_blocks(distil.fetch(a.work), model.DEPTH), crops.tiles[:24]).eval()
    fit = np.arange(0, crops.count, 4)
    y = crops.targets(fit)[:, 1:].mean(1)
    perturbed = [f"tiles/{n}" for n in perturb.perturbations()]
    vectors, maps = {}, {}
    for who, s in (("student", student), ("before fine-tuning", before)):
        v = {"train": sae_step.pooled(s, crops.tiles[fit])[0]}
        for name in SETS:
            v[name] = sae_step.pooled(s, views[name]["tiles"])[0]
            for k in perturbed if who == "student" and perturbed[0] in views[name] else []:
                v[f"{name}/{k}"] = sae_step.pooled(s, views[name][k])[0]
        w, b = distil.ridge(v["train"], y, 1e-2)
        maps[who], vectors[who] = (w, b), v
        print(who, f"{time.time() - start:.0f} s", flush=True)
    out = {"student": {"steps": saved["steps"], "seconds": saved["seconds"], "crops": crops.count},
           "agreement": {}, "retrieval": {}, "nuclei": {}}
    for name in SETS:
        teacher = torch.tensor(views[name]["mean"]).float()
        rows = {"tiles": len(teacher), "constant": agreement(y.mean(0).expand_as(teacher), teacher)}
        for who, (w, b) in maps.items():
            rows[who] = agreement(vectors[who][name] @ w.T + b, teacher)
        w, b = maps["student"]
        for k in perturbed if perturbed[0] in views[name] else []:
            step = -(-len(teacher) // len(views[name][k]))
            rows[k.removeprefix("tiles/")] = agreement(vectors["student"][f"{name}/{k}"] @ w.T + b, teacher[::step])
        out["agreement"][name] = rows
        if perturbed[0] not in views[name]:
            continue
        step = -(-len(teacher) // len(views[name][perturbed[0]]))
        own = torch.arange(len(teacher))[::step]
        # Clean training crops stand beside the set's own tiles, as distractors.
        out["retrieval"][name] = {"gallery": len(teacher) + 400, **{k.removeprefix("tiles/"): {
            "student": float(nearest(vectors["student"][f"{name}/{k}"],
                                     torch.cat([vectors["student"][name], vectors["student"]["train"][:400]]), own).mean()),
            "teacher": float(nearest(torch.tensor(views[name][k.replace("tiles", "mean")]),
                                     torch.cat([teacher, y[:400]]), own).mean())} for k in perturbed}}
    pairs = {}
    for who, of in (("student", lambda s: vectors["student"][s]),
                    ("before fine-tuning", lambda s: vectors["before fine-tuning"][s]),
                    ("teacher", lambda s: torch.tensor(views[s]["mean"]).float())):
        for one, other in (("aperio", "hamamatsu"), ("hamamatsu", "aperio")):
            hit = nearest(of(one) - of(one).mean(0), of(other) - of(other).mean(0), torch.arange(35))
            raw = nearest(of(one), of(other), torch.arange(35))
            groups = views[one]["groups"]
            pairs[f"{who}, {one} finds {other}"] = {
                "as they are": by_group(groups, lambda i: raw[i].mean()),
                "each scanner's mean taken out": by_group(groups, lambda i: hit[i].mean())}
    out["scanner_pairs"] = pairs
    for name in ("nuinsseg", "tnbc"):
        out["nuclei"][name] = counts(views[name], {
            "student": vectors["student"][name], "before fine-tuning": vectors["before fine-tuning"][name],
            "teacher": torch.tensor(views[name]["mean"]).float()}, heads)
    out["to the last block"] = to_the_last_block(a, views, vectors["student"], crops, fit)
    print(f"counts, last block {time.time() - start:.0f} s", flush=True)
    torch.save(vectors["student"], a.work / "held_out_vectors.pt")
    (a.work / "metrics.json").write_text(json.dumps(out, indent=1))
    out["sae"] = figures_of_sae(a, vectors["student"], out)
    (a.work / "metrics.json").write_text(json.dumps(out, indent=1))
    print(json.dumps({k: v for k, v in out.items() if k != "reference"}, indent=1))


def figures_of_sae(a, v, out):
    saved = torch.load(a.work / "sae.pt")
    full, parts = torch.load(a.work / "sae_vectors.pt")
    train, saes = torch.cat([full, parts]), []
    for seed in (0, 1):
        s = sae_step.TopK(model.WIDTH, sae_step.ATOMS, saved["k"], torch.zeros(model.WIDTH))
        s.load_state_dict(saved[seed]["sae"])
        saes.append(s)
    result = {k: saved[k] for k in ("k", "steps", "tiles", "vectors")}
    held = torch.cat([x for k, x in v.items() if k != "train" and not k.startswith("selection")])
    clean = torch.cat([v[s] for s in SETS if s != "selection"])
    sets = {**{s: v[s] for s in SETS}, "all held-out tiles, clean and perturbed": held}
    with torch.no_grad():
        for name, x in sets.items():
            f = saes[0].encode(x)
            result[name] = {"tiles": len(x), "fvu": sae_step.fvu(saes[0], x), "second_seed": sae_step.fvu(saes[1], x),
                            "pca": sae_step.pca_fvu(train, x, saved["k"]), "never": int((f == 0).all(0).sum())}
        fires = torch.cat([saes[0].encode(x) for x in train.split(4096)]).gt(0)
        often = fires.float().mean(0)
        result["training vectors"] = {"never": int((often == 0).sum()), "in more than half": int((often > 0.5).sum())}
        alive = often > 0
        other = torch.cat([saes[1].encode(x) for x in train.split(4096)]).gt(0).any(0)
        cosine = sae_step.agreement(saes[0].W_dec[alive], saes[1].W_dec[other])
        result["two seeds"] = {"median best cosine": float(cosine.median()),
                               "features with one above 0.9": int((cosine > 0.9).sum()), "of": int(alive.sum())}
        mean = clean.mean(0)
        spread = (clean - mean).square().sum(1).mean()
        f = saes[0].encode(clean)
        err = (clean - saes[0].decode(f)).square().sum(1) / spread
        # Sets count alike: one that the SAE keeps badly must not say by its size what is usual.
        of_sets = torch.stack([e.quantile(torch.tensor(QUANTILES)) for e in err.split([len(v[s]) for s in SETS if s != "selection"])])
        usual = of_sets.quantile(0.5, 0)
    out["reference"] = {"mean": mean.tolist(), "mean_squared_distance": float(spread), "n": len(clean),
                        "error_quantiles": {str(q): float(u) for q, u in zip(QUANTILES, usual)}}
    return result


if __name__ == "__main__":
    main()
