"""Step 5: figures for the card, on the held-out source, with float16-rounded weights.

Linear maps to the teacher are fitted on the clean training crops and applied as they are.
"""
import json
import time

import numpy as np
import torch
import torch.nn.functional as F

import data
import model
import sae as sae_step

QUANTILES = [0.5, 0.75, 0.9, 0.95, 0.99, 0.999]


def ridge(x, y):
    """Linear map fitted on the training crops; the penalty is chosen on every fifth of them."""
    mx, my = x.mean(0), y.mean(0)
    X, Y = (x - mx).double(), (y - my).double()
    test = torch.arange(len(X)) // 50 % 5 == 0       # neighbouring crops stay together
    def solve(X, Y, r):
        c = X.T @ X
        return torch.linalg.solve(c + r * c.diagonal().mean() * torch.eye(len(c)), X.T @ Y)
    r = min((1e-3, 1e-2, 1e-1, 1.0, 10.0), key=lambda r: float(
        (Y[test] - X[test] @ solve(X[~test], Y[~test], r)).square().sum()))
    w = solve(X, Y, r).float()
    return lambda v: (v - mx) @ w + my


def agreement(pred, y, spread):
    """R2 about the evaluation set's own mean, raw and with each dimension scaled by the
    teacher's spread in training; cosine after taking that mean from both."""
    m = y.mean(0)
    r2 = lambda s: float(1 - ((pred - y) / s).square().sum() / ((y - m) / s).square().sum())
    return {"r2": r2(1.0), "r2_scaled": r2(spread),
            "centred_cosine": float(F.cosine_similarity(pred - m, y - m, dim=1).mean())}


def retrieval(clean, seen, others):
    """Share of perturbed tiles whose nearest clean tile, by cosine about the clean mean, is
    their own; `others` are clean tiles that only distract."""
    gallery = torch.cat([clean, others])
    m = gallery.mean(0)
    sim = F.normalize(seen - m, dim=1) @ F.normalize(gallery - m, dim=1).T
    return float((sim.argmax(1) == torch.arange(len(clean))).float().mean())


def main():
    p = data.arguments()
    p.add_argument("--threads", type=int, default=1)
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    start = time.time()
    load = lambda split: dict(np.load(a.work / f"teacher_{split}.npz"))
    training, watch, held = load("train"), load("watch"), load("held_out")
    teacher = torch.tensor(training["mean"])
    spread = teacher.std(0)
    names = list(data.perturbations())

    torch.manual_seed(1)
    students = {"student": sae_step.load_student(a.work / "student.pt"),
                "untrained": model.student().eval()}
    vectors = {}
    for who, s in students.items():
        v = {"train": sae_step.pooled(s, training["tiles"][::3])[0]}
        for split, c in (("watch", watch), ("held_out", held)):
            v[split] = sae_step.pooled(s, c["tiles"])[0]
            for n in names:
                v[f"{split}/{n}"] = sae_step.pooled(s, c[f"tiles/{n}"])[0]
        vectors[who] = v
        print(who, f"{time.time() - start:.0f} s", flush=True)
    vectors["teacher"] = {"train": teacher[::3]}
    for split, c in (("watch", watch), ("held_out", held)):
        vectors["teacher"][split] = torch.tensor(c["mean"])
        for n in names:
            vectors["teacher"][f"{split}/{n}"] = torch.tensor(c[f"mean/{n}"])

    out = {"tiles": {"train_crops": len(teacher), "watch": len(watch["tiles"]),
                     "held_out": len(held["tiles"])}, "agreement": {}, "retrieval": {}}
    maps = {who: ridge(vectors[who]["train"], teacher[::3]) for who in students}
    for split in ("held_out", "watch"):
        y = vectors["teacher"][split]
        rows = {"constant": {"clean": agreement(teacher.mean(0).expand_as(y), y, spread)}}
        for who, to_teacher in maps.items():
            rows[who] = {"clean": agreement(to_teacher(vectors[who][split]), y, spread)}
            for n in names:
                rows[who][n] = agreement(to_teacher(vectors[who][f"{split}/{n}"]), y, spread)
        rows["teacher_itself"] = {n: agreement(vectors["teacher"][f"{split}/{n}"], y, spread) for n in names}
        out["agreement"][split] = rows
        other = "watch" if split == "held_out" else "held_out"
        out["retrieval"][split] = {
            who: {n: retrieval(v[split], v[f"{split}/{n}"], torch.cat([v[other], v["train"][::4]]))
                  for n in names} for who, v in vectors.items()}
    out["retrieval"]["gallery"] = len(held["tiles"]) + len(watch["tiles"]) + len(teacher[::3][::4])

    saved = torch.load(a.work / "sae.pt")
    s = sae_step.TopK(model.WIDTH, sae_step.EXPANSION * model.WIDTH, saved["k"], torch.zeros(model.WIDTH))
    s.load_state_dict(saved["sae"])
    v = vectors["student"]
    out["sae"] = {k: saved[k] for k in ("k", "tiles", "vectors", "steps", "seconds", "train_fvu", "train_never_active")}
    clean = torch.cat([v["held_out"], v["watch"]])
    sets = {"held_out": v["held_out"], "watch": v["watch"], "held_out_and_watch": clean,
            "held_out_perturbed": torch.cat([v[f"held_out/{n}"] for n in names])}
    mean = clean.mean(0)
    spread2 = (clean - mean).square().sum(1).mean()
    with torch.no_grad():
        for n, x in sets.items():
            f = s.encode(x)
            err = (x - s.decode(f)).square().sum(1) / spread2
            out["sae"][n] = {"tiles": len(x), "fvu": sae_step.fvu(s, x),
                             "l0": float((f > 0).sum(1).float().mean()),
                             "never_active": int((f == 0).all(0).sum()), "features": f.shape[1],
                             "error_quantiles": {str(q): float(err.quantile(q)) for q in QUANTILES}}
        every = torch.cat([s.encode(x) for k, x in v.items()])
    out["sae"]["never_active_on_any_tile_here"] = {"tiles": len(every), "features": int((every == 0).all(0).sum())}
    out["reference"] = {"tiles": "clean tissue of held_out and watch", "n": len(clean),
                        "mean": mean.tolist(), "mean_squared_distance": float(spread2)}
    out["distillation"] = {k: torch.load(a.work / "student.pt")[k] for k in ("tiles", "seconds")}
    (a.work / "metrics.json").write_text(json.dumps(out, indent=1))
    short = {k: {w: r["clean"] for w, r in rows.items() if "clean" in r} for k, rows in out["agreement"].items()}
    print(json.dumps({"agreement": short, "retrieval": out["retrieval"], "sae": out["sae"]}, indent=1))


if __name__ == "__main__":
    main()
