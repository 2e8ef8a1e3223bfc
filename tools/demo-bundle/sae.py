"""Step 4: a TopK sparse autoencoder on the last tap of the finished, float16-rounded student."""
import time

import numpy as np
import torch
import torch.nn.functional as F

import data
import model

EXPANSION, K = 8, 16


def load_student(path):
    s = model.student().eval()
    s.load_state_dict(torch.load(path)["student"])
    return model.round_to_half(s)


@torch.no_grad()
def pooled(student, tiles, windows=0, rng=None, batch=32):
    """The tap itself and, for training, means over random windows of the same patch tokens:
    a tile has one mean, but its parts have many, and they look like other tiles' means."""
    full, parts = [], []
    for i in range(0, len(tiles), batch):
        t = model.tokens(student, torch.tensor(data.normalise(tiles[i:i + batch])))[:, 1:]
        full.append(t.mean(1))
        g = t.reshape(len(t), 14, 14, -1)
        for _ in range(windows):
            h, w = rng.integers(6, 15, 2)
            y, x = rng.integers(0, 15 - h), rng.integers(0, 15 - w)
            parts.append(g[:, y:y + h, x:x + w].mean((1, 2)))
    return torch.cat(full), torch.cat(parts) if parts else None


def random_tiles(fields, n, rng):
    """Any place and any of eight orientations of the training fields, perturbed like in training."""
    area = np.array([f.pixels.shape[0] * f.pixels.shape[1] for f in fields], float)
    area[[f.source == "glass" for f in fields]] *= 0.3
    for j in rng.choice(len(fields), n, p=area / area.sum()):
        h, w = fields[j].pixels.shape[:2]
        y, x = rng.integers(0, h - data.SIDE + 1), rng.integers(0, w - data.SIDE + 1)
        tile = data.dihedral(fields[j].pixels[y:y + data.SIDE, x:x + data.SIDE], rng.integers(8))
        yield data.augment(tile, rng)


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


def train(x, k, steps, watch=None, idle=400, seed=0):
    """TopK with an auxiliary loss: features idle for `idle` steps learn the residual."""
    torch.manual_seed(seed)
    d = x.shape[1]
    scale = ((x - x.mean(0)).square().mean().sqrt()) ** -1
    x = x * scale
    sae = TopK(d, EXPANSION * d, k, x.mean(0))
    opt = torch.optim.Adam(sae.parameters(), 1e-3, betas=(0.9, 0.99))
    last = torch.zeros(EXPANSION * d)
    for step in range(steps):
        for g in opt.param_groups:
            g["lr"] = 1e-3 * min(1, (step + 1) / 100, 5 * (steps - step) / steps)
        b = x[torch.randint(len(x), (512,))]
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
            loss = loss + (err.detach() - aux).square().mean() / 16
        opt.zero_grad()
        loss.backward()
        opt.step()
        with torch.no_grad():
            sae.W_dec.data = F.normalize(sae.W_dec.data, dim=1)
        if (step + 1) % 500 == 0:
            w = "" if watch is None else f" watch FVU {fvu(sae, watch * scale):.3f}"
            print(f"step {step + 1} FVU {fvu(sae, x[:4096]):.4f} idle {int(dead.sum())}{w}", flush=True)
    with torch.no_grad():       # back to the student's own scale; the decoder stays unit norm
        sae.b_dec.data /= scale
        sae.b_enc.data /= scale
        for q in sae.parameters():
            q.data = q.data.half().float()
    return sae


def main():
    p = data.arguments()
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--tiles", type=int, default=1200)
    p.add_argument("--steps", type=int, default=1500)
    p.add_argument("--k", type=int, default=K)
    p.add_argument("--windows", type=int, default=6)
    p.add_argument("--reuse", action="store_true", help="reuse the vectors of the last run")
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    start = time.time()
    student = load_student(a.work / "student.pt")
    watch, _ = pooled(student, np.load(a.work / "teacher_watch.npz")["tiles"])
    if a.reuse:
        full, parts = torch.load(a.work / "sae_vectors.pt")
    else:
        rng = np.random.default_rng(11)
        fields = [f for f in data.fields(a.data) if f.split == "train"]
        full, parts, chunk = [], [], []
        for n, tile in enumerate(random_tiles(fields, a.tiles, rng)):
            chunk.append(tile)
            if len(chunk) == 32 or n == a.tiles - 1:
                f, q = pooled(student, np.stack(chunk), a.windows, rng)
                full.append(f), parts.append(q), chunk.clear()
        full, parts = torch.cat(full), torch.cat(parts)
        torch.save((full, parts), a.work / "sae_vectors.pt")
    print(f"{len(full)} pooled vectors, {len(parts)} window means, {time.time() - start:.0f} s", flush=True)
    x = torch.cat([full, parts[:a.windows * len(full)]])
    sae = train(x, a.k, a.steps, watch)
    with torch.no_grad():
        f = torch.cat([sae.encode(b) for b in full.split(2048)])
    print(f"training tiles: FVU {fvu(sae, full):.4f} L0 {(f > 0).sum(1).float().mean():.2f} "
          f"never active {int((f == 0).all(0).sum())} of {f.shape[1]}; watch FVU {fvu(sae, watch):.4f}")
    torch.save({"sae": sae.state_dict(), "k": a.k, "tiles": len(full), "vectors": len(x),
                "steps": a.steps, "seconds": time.time() - start,
                "train_fvu": fvu(sae, full), "train_never_active": int((f == 0).all(0).sum())},
               a.work / "sae.pt")


if __name__ == "__main__":
    main()
