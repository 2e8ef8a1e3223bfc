"""Step 3: TopK sparse autoencoders on the last tap of the finished, float16-rounded student, from two seeds.

They train on what the plugin sees, means over the patch tokens of a tile, and on means over random windows of these
tokens: a tile has one mean, but its parts have many, and they look like other tiles' means. The first seed's is the
bundle's; the second says how much of it belongs to the seed.
"""
import time

import numpy as np
import torch
import torch.nn.functional as F

import data
import distil
import model
import perturb

ATOMS, K, WINDOWS, BATCH = 384, 32, 4, 512


def load_student(path):
    s = model.student().eval()
    s.load_state_dict(torch.load(path)["student"])
    return model.round_to_half(s)


@torch.no_grad()
def pooled(student, tiles, windows=0, rng=None, batch=32, quick=False):
    """The tap itself and, for training, means over random windows of the same patch tokens. `quick`: in bfloat16."""
    full, parts = [], []
    for i in range(0, len(tiles), batch):
        with torch.autocast("cpu", torch.bfloat16, enabled=quick):
            t = model.tokens(student, torch.tensor(data.normalise(tiles[i:i + batch])))[:, 1:].float()
        full.append(t.mean(1))
        g = t.reshape(len(t), model.GRID, model.GRID, -1)
        for _ in range(windows):
            h, w = rng.integers(7, model.GRID + 1, 2)
            y, x = rng.integers(0, model.GRID + 1 - h), rng.integers(0, model.GRID + 1 - w)
            parts.append(g[:, y:y + h, x:x + w].mean((1, 2)))
    return torch.cat(full), torch.cat(parts) if parts else None


class TopK(torch.nn.Module):
    def __init__(self, d, m, k, mean):
        super().__init__()
        dec = F.normalize(torch.randn(m, d), dim=1)
        self.W_dec = torch.nn.Parameter(dec)
        self.W_enc = torch.nn.Parameter(dec.T.clone())
        self.b_enc = torch.nn.Parameter(torch.zeros(m))
        self.b_dec = torch.nn.Parameter(mean.clone())
        self.k = k

    def pre(self, x):
        return (x - self.b_dec) @ self.W_enc + self.b_enc

    def encode(self, x):
        v, i = self.pre(x).topk(self.k)
        return torch.zeros(len(x), len(self.b_enc)).scatter(1, i, v.relu())

    def decode(self, f):
        return f @ self.W_dec + self.b_dec


def fvu(sae, x):
    with torch.no_grad():
        return float((x - sae.decode(sae.encode(x))).square().sum() / (x - x.mean(0)).square().sum())


def pca_fvu(train, x, components):
    """The same share left by the training vectors' first components."""
    mean = train.mean(0)
    axes = torch.linalg.eigh(torch.cov((train - mean).T)).eigenvectors[:, -components:]
    z = x - mean
    return float((z - z @ axes @ axes.T).square().sum() / (x - x.mean(0)).square().sum())


def agreement(a, b):
    """Cosine of each feature of `a` that fires with its nearest of `b`."""
    return (F.normalize(a, dim=1) @ F.normalize(b, dim=1).T).max(1).values


def train(x, k, steps, watch, idle=30, seed=0):
    """TopK with an auxiliary loss as large as the loss itself: features idle for `idle` steps learn the residual. With 150
    steps and an eighth of the loss one feature in seven died; the error is the same."""
    torch.manual_seed(seed)
    d = x.shape[1]
    scale = ((x - x.mean(0)).square().mean().sqrt()) ** -1
    x = x * scale
    sae = TopK(d, ATOMS, k, x.mean(0))
    opt = torch.optim.Adam(sae.parameters(), 1e-3, betas=(0.9, 0.99), foreach=True)
    last = torch.zeros(ATOMS)
    for step in range(steps):
        for g in opt.param_groups:
            g["lr"] = 2e-3 * min(1, (step + 1) / 100, 3 * (steps - step) / steps)
        b = x[torch.randint(len(x), (BATCH,))]
        pre = sae.pre(b)
        v, i = pre.topk(k)
        f = torch.zeros_like(pre).scatter(1, i, v.relu())
        err = b - sae.decode(f)
        loss = err.square().mean()
        last = torch.where((f > 0).any(0), float(step), last)
        dead = step - last > idle
        if dead.any():
            n = min(2 * k, int(dead.sum()))
            va, ia = pre.masked_fill(~dead, -1e9).topk(n)
            aux = torch.zeros_like(pre).scatter(1, ia, va.relu()) @ sae.W_dec
            loss = loss + (err.detach() - aux).square().mean()
        opt.zero_grad()
        loss.backward()
        opt.step()
        with torch.no_grad():
            sae.W_dec.data = F.normalize(sae.W_dec.data, dim=1)
        if (step + 1) % 250 == 0:
            print(f"seed {seed} step {step + 1} FVU {fvu(sae, x[:4096]):.4f} idle {int(dead.sum())} "
                  f"selection {fvu(sae, watch * scale):.4f}", flush=True)
    with torch.no_grad():       # back to the student's own scale; the decoder stays unit norm
        sae.b_dec.data /= scale
        sae.b_enc.data /= scale
        for q in sae.parameters():
            q.data = q.data.half().float()
    return sae


def main():
    p = data.arguments()
    p.add_argument("--tiles", type=int, default=6400)
    p.add_argument("--steps", type=int, default=3000)
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    student = load_student(a.work / "student.pt")
    selection, _ = pooled(student, np.load(a.work / "views_selection.npz")["tiles"])
    path = a.work / "sae_vectors.pt"
    if not path.exists():
        rng, start, crops = np.random.default_rng(11), time.time(), distil.Crops(a.work)
        full, parts = [], []
        for i in range(0, min(a.tiles, crops.count), 32):
            # Half of the crops as they are, half perturbed.
            tiles = [perturb.augment(t, rng) if rng.random() < 0.5 else t for t in crops.tiles[i:i + 32]]
            f, q = pooled(student, np.stack(tiles), WINDOWS, rng, quick=True)
            full.append(f), parts.append(q)
        torch.save((torch.cat(full), torch.cat(parts)), path)
        print(f"vectors: {time.time() - start:.0f} s", flush=True)
    full, parts = torch.load(path)
    x = torch.cat([full, parts])
    saved = {"k": K, "steps": a.steps, "tiles": len(full), "vectors": len(x)}
    for seed in (0, 1):
        sae = train(x, K, a.steps, selection, seed=seed)
        with torch.no_grad():
            fires = torch.cat([sae.encode(b) for b in x.split(4096)]).gt(0).sum(0)
        saved[seed] = {"sae": sae.state_dict(), "fires": fires, "fvu": fvu(sae, full), "pca": pca_fvu(x, full, K),
                       "selection_fvu": fvu(sae, selection), "selection_pca": pca_fvu(x, selection, K)}
        print({k: v for k, v in saved[seed].items() if isinstance(v, float)}, "never:", int((fires == 0).sum()))
    torch.save(saved, a.work / "sae.pt")


if __name__ == "__main__":
    main()
