"""Step 3: distil. The student sees an augmented tile, the target is the teacher on the clean one.

Checkpoints hold a running average of the weights, so any of them can be exported.
"""
import copy
import os
import queue
import threading
import time

import numpy as np
import torch
import torch.nn.functional as F

import data
import model
from init import fit


class Targets:
    """The teacher's tokens, standardised per dimension with the training set's statistics."""

    def __init__(self, cache):
        p = cache["patches"]
        some = p[::7].reshape(-1, p.shape[-1]).astype(np.float32)
        self.stats = {"patches": (some.mean(0), some.std(0)),
                      **{k: (cache[k].mean(0), cache[k].std(0)) for k in ("mean", "cls")}}
        self.cache = cache

    def batch(self, i):
        out = {}
        for k, (m, s) in self.stats.items():
            out[k] = torch.tensor((self.cache[k][i].astype(np.float32) - m) / s)
        return out


class Heads(torch.nn.Module):
    """Linear maps to the teacher; thrown away after training."""

    def __init__(self, d=model.WIDTH, teacher=384):
        super().__init__()
        self.patches, self.mean, self.cls = (torch.nn.Linear(d, teacher) for _ in range(3))

    def forward(self, t):
        return {"patches": self.patches(t[:, 1:]), "mean": self.mean(t[:, 1:].mean(1)),
                "cls": self.cls(t[:, 0])}


@torch.no_grad()
def fit_heads(student, heads, tiles, target, n=320):
    """Start the linear maps at their least-squares solution on some clean tiles."""
    pick = np.sort(np.random.default_rng(5).choice(len(tiles), n, replace=False))
    y = target.batch(pick)
    t = torch.cat([model.tokens(student, torch.tensor(data.normalise(tiles[pick[i:i + 16]])))
                   for i in range(0, n, 16)])
    for k, x, ridge in (("patches", t[:, 1:].flatten(0, 1), 1e-2), ("cls", t[:, 0], 0.1)):
        w, b = fit(x.double(), y[k].reshape(len(x), -1).double(), ridge)
        head = getattr(heads, k)
        head.weight.copy_(w)
        head.bias.copy_(b)
    # The pooled vector: the same map, in the pooled vector's units.
    (pm, ps), (mm, ms) = ([torch.tensor(v) for v in target.stats[k]] for k in ("patches", "mean"))
    heads.mean.weight.copy_(heads.patches.weight * (ps / ms)[:, None])
    heads.mean.bias.copy_((heads.patches.bias * ps + pm - mm) / ms)


class Paced:
    """Adam with steps in proportion to the scale of each row or column. The first weights come
    from a stream whose directions differ a hundredfold in size; equal steps would wreck the
    small ones. The norms inside the blocks stay as they are."""

    def __init__(self, student, heads, lr):
        self.pace, params = [], []
        rms = lambda w, d: w.detach().square().mean(d, keepdim=True).sqrt() / 0.04
        for name, q in [*student.named_parameters(), *heads.named_parameters()]:
            if name.startswith("blocks") and ".norm" in name:
                q.requires_grad_(False)
                continue
            if ".proj." in name or ".fc2." in name:       # write into the stream: by row
                p = rms(student.get_parameter(name.replace(".bias", ".weight")).flatten(1), 1)
                p = p.reshape(-1, *[1] * (q.ndim - 1)) * (0.2 if "patch_embed" in name else 1)
            elif name in ("cls_token", "pos_embed"):
                p = rms(student.pos_embed[0], 0)[None] * 0.2
            elif name.startswith("norm."):
                p = student.norm.weight.detach().abs() / 0.2
            elif q.ndim == 2:                             # read from it: by column
                p = rms(q, 0)
            else:
                p = torch.ones(1)
            self.pace.append(p.clone())
            params.append(q)
        self.params = params
        self.adam = torch.optim.AdamW(params, lr=lr, betas=(0.9, 0.99), weight_decay=0.0)

    @torch.no_grad()
    def step(self, lr):
        for g in self.adam.param_groups:
            g["lr"] = lr
        before = [q.clone() for q in self.params]
        self.adam.step()
        self.adam.zero_grad()
        for q, old, p in zip(self.params, before, self.pace):
            q.copy_(old + p * (q - old))


def loss_of(pred, target):
    parts = {k: F.mse_loss(pred[k], target[k]) for k in pred}
    cosine = 1 - F.cosine_similarity(pred["mean"], target["mean"], dim=1).mean()
    return parts["patches"] + parts["mean"] + 0.5 * parts["cls"] + 0.5 * cosine, parts


def batches(tiles, size, seed, out):
    """Augmented batches, made in a thread of their own."""
    rng = np.random.default_rng(seed)
    while True:
        order = rng.permutation(len(tiles))
        for i in range(0, len(order) - size + 1, size):
            pick = order[i:i + size]
            x = data.normalise(np.stack([data.augment(tiles[j], rng) for j in pick]))
            out.put((pick, torch.from_numpy(x)))


@torch.no_grad()
def watch(student, heads, targets, tiles):
    """R2 of the pooled vector over fields kept back, clean and with all perturbations."""
    y = targets["mean"]
    out = []
    for t in tiles:
        p = heads.mean(model.tokens(student, torch.tensor(data.normalise(t)))[:, 1:].mean(1))
        out.append(float(1 - (p - y).square().sum() / (y - y.mean(0)).square().sum()))
    return out


def main():
    p = data.arguments()
    p.add_argument("--minutes", type=float, default=40)
    p.add_argument("--threads", type=int, default=0, help="0: one, and a second while the machine is idle")
    p.add_argument("--batch", type=int, default=16)
    p.add_argument("--lr", type=float, default=1.5e-5)
    p.add_argument("--from-noise", action="store_true", help="do not start from init.pt")
    p.add_argument("--name", default="student")
    a = p.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(a.threads or 1)

    cache = dict(np.load(a.work / "teacher_train.npz"))
    tiles, target = cache.pop("tiles"), Targets(cache)
    kept = dict(np.load(a.work / "teacher_watch.npz"))
    m, s = target.stats["mean"]
    kept_target = {"mean": torch.tensor((kept["mean"] - m) / s)}
    kept_tiles = [kept["tiles"], kept["tiles/all five, milder"]]

    student, heads = model.student(), Heads()
    if not a.from_noise:
        student.load_state_dict(torch.load(a.work / "init.pt"))
    fit_heads(student, heads, tiles, target)
    both = torch.nn.ModuleDict({"student": student, "heads": heads})
    average = copy.deepcopy(both)
    opt = Paced(student, heads, a.lr)
    feed = queue.Queue(4)
    threading.Thread(target=batches, args=(tiles, a.batch, 1, feed), daemon=True).start()

    start, step, sums = time.time(), 0, {}
    while (done := (time.time() - start) / (60 * a.minutes)) < 1:
        lr = a.lr * min(1, (step + 1) / 20) * (0.01 + 0.99 * 0.5 * (1 + np.cos(np.pi * done)))
        pick, x = feed.get()
        loss, parts = loss_of(heads(model.tokens(student, x)), target.batch(pick))
        loss.backward()
        opt.step(lr)
        step += 1
        keep = min(0.99, step / (step + 10))
        with torch.no_grad():
            for slow, fast in zip(average.parameters(), both.parameters()):
                slow.lerp_(fast, 1 - keep)
        for k, v in {"loss": loss, **parts}.items():
            sums[k] = sums.get(k, 0) + v.item()
        if a.threads == 0 and step % 10 == 0:
            load = os.getloadavg()[0]
            if load < 1.6 or load > 2.7:
                torch.set_num_threads(2 if load < 1.6 else 1)
        if step % 25 == 0 or step == 1:
            n = 1 if step == 1 else 25 - (step == 25)
            r2 = watch(average["student"], average["heads"], kept_target, kept_tiles)
            print(f"{time.time() - start:6.0f} s step {step:5d} lr {lr:.1e} "
                  + " ".join(f"{k} {v / n:.3f}" for k, v in sums.items())
                  + f" | watch R2 clean {r2[0]:.3f} perturbed {r2[1]:.3f}", flush=True)
            sums = {}
            torch.save({"student": average["student"].state_dict(),
                        "heads": average["heads"].state_dict(),
                        "steps": step, "seconds": time.time() - start,
                        "tiles_seen": step * a.batch}, a.work / f"{a.name}.pt")
    print(f"{step} steps, {step * a.batch} tiles, {time.time() - start:.0f} s")


if __name__ == "__main__":
    main()
