"""Step 2: the student: the teacher's patch embedding and first three blocks, fine-tuned.

The student sees a perturbed tile, the teacher saw it clean. A linear map each, for patch tokens and for the class
token, takes the student's tokens to the teacher's whitened ones; the maps are thrown away afterwards. Beside the
distance of tokens the loss has the distance of pooled vectors, the disagreement of two views of one tile, and a small
head's error on the number of nuclei. What is kept is the moving average of the weights, every 100 steps; the one that is
best on the organ that chooses goes on, copied to student.pt. The learning rate follows the clock, so that a run ends when
it was told to.
"""
import copy
import json
import time
from dataclasses import dataclass

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from onnx import numpy_helper

import data
import model
import perturb
from teacher import fetch

BATCH, TWICE = 14, 2          # crops a step, and how many of them are seen in two views
RATE, DECAY, AVERAGE = 1.5e-4, 0.02, 0.99
# LayerNorm does not mind the scale of the stream; float16 does, and the teacher's is small.
STREAM_SCALE = 4.0


def teacher_blocks(path, depth):
    """The first blocks of the ONNX trunk as a timm state dict: layer scales folded in, positions for 16 x 16."""
    g = onnx.load(path).graph
    w = {t.name: torch.tensor(numpy_helper.to_array(t)) for t in g.initializer}
    mats = {n.name: w[n.input[1]] for n in g.node if n.op_type == "MatMul" and n.input[1] in w}
    e = "backbone.embeddings."
    pos = w["onnx::Reshape_1962"].reshape(1, 37, 37, model.WIDTH).permute(0, 3, 1, 2)
    pos = F.interpolate(pos, (model.GRID, model.GRID), mode="bicubic", align_corners=False)
    pos = pos.permute(0, 2, 3, 1).reshape(1, -1, model.WIDTH)
    sd = {"cls_token": w[e + "cls_token"], "pos_embed": torch.cat([w["onnx::Concat_1957"], pos], 1),
          "patch_embed.proj.weight": w[e + "patch_embeddings.projection.weight"],
          "patch_embed.proj.bias": w[e + "patch_embeddings.projection.bias"],
          "norm.weight": torch.ones(model.WIDTH), "norm.bias": torch.zeros(model.WIDTH)}
    for i in range(depth):
        s, n, b = f"backbone.encoder.layer.{i}.", f"/backbone/encoder/layer.{i}/", f"blocks.{i}."
        one, two = w[s + "layer_scale1.lambda1"], w[s + "layer_scale2.lambda1"]
        part = ("query", "key", "value")
        sd |= {b + "attn.qkv.weight": torch.cat([mats[f"{n}attention/attention/{x}/MatMul"].T for x in part]),
               b + "attn.qkv.bias": torch.cat([w[f"{s}attention.attention.{x}.bias"] for x in part]),
               b + "attn.proj.weight": one[:, None] * mats[n + "attention/output/dense/MatMul"].T,
               b + "attn.proj.bias": one * w[s + "attention.output.dense.bias"],
               b + "mlp.fc1.weight": mats[n + "mlp/fc1/MatMul"].T, b + "mlp.fc1.bias": w[s + "mlp.fc1.bias"],
               b + "mlp.fc2.weight": two[:, None] * mats[n + "mlp/fc2/MatMul"].T,
               b + "mlp.fc2.bias": two * w[s + "mlp.fc2.bias"]}
        for k in ("norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias"):
            sd[b + k] = w[s + k]
    return sd


@torch.no_grad()
def narrow(sd, tiles):
    """Drops the hidden units that add least; their mean goes into the bias. Returns the student."""
    full = model.student(4 * model.WIDTH)
    full.load_state_dict(sd)
    h = model.embed_input(full, torch.tensor(data.normalise(tiles)))
    for i, b in enumerate(full.blocks):
        h = h + b.attn(b.norm1(h))
        hidden = b.mlp.act(b.mlp.fc1(b.norm2(h)))
        h = h + b.mlp.fc2(hidden)
        hidden = hidden.flatten(0, 1)
        added = hidden.var(0) * b.mlp.fc2.weight.square().sum(0)
        keep = added.topk(model.HIDDEN).indices.sort().values
        drop = torch.ones(hidden.shape[1], dtype=torch.bool)
        drop[keep] = False
        n = f"blocks.{i}.mlp."
        sd[n + "fc2.bias"] = sd[n + "fc2.bias"] + sd[n + "fc2.weight"][:, drop] @ hidden.mean(0)[drop]
        sd[n + "fc2.weight"] = sd[n + "fc2.weight"][:, keep]
        sd[n + "fc1.weight"], sd[n + "fc1.bias"] = sd[n + "fc1.weight"][keep], sd[n + "fc1.bias"][keep]
        print(f"block {i}: dropped units carry {float(added[drop].sum() / added.sum()):.4f} of what the MLP adds")
    for k in sd:
        if k in ("cls_token", "pos_embed") or k.startswith("patch_embed") or ".proj." in k or ".fc2." in k:
            sd[k] = sd[k] * STREAM_SCALE
    s = model.student()
    s.load_state_dict(sd)
    return s


@dataclass
class Whitening:
    """Main directions, each by its spread; spreads below twice the mean one are not blown up."""
    mean: torch.Tensor
    matrix: torch.Tensor

    @staticmethod
    def of(x, floor=2.0):
        mean = x.mean(0)
        value, vector = torch.linalg.eigh(torch.cov((x - mean).T.double()))
        return Whitening(mean, (vector / (value + floor * value.mean()).sqrt()).float())

    def __call__(self, x):
        return (x - self.mean) @ self.matrix


class Heads(torch.nn.Module):
    """Thrown away after training."""
    def __init__(self):
        super().__init__()
        self.patch = torch.nn.Linear(model.WIDTH, model.WIDTH)
        self.cls = torch.nn.Linear(model.WIDTH, model.WIDTH)
        self.nuclei = torch.nn.Linear(model.WIDTH, 2)


def ridge(x, y, penalty):
    """Weight and bias of a linear map."""
    mx, my = x.mean(0), y.mean(0)
    z = (x - mx).double()
    c = z.T @ z
    w = torch.linalg.solve(c + penalty * c.diagonal().mean() * torch.eye(len(c)), z.T @ (y - my).double()).T.float()
    return w, my - w @ mx


class Crops:
    """The cache of step 1, as far as it goes."""
    def __init__(self, work):
        load = lambda n: np.load(work / n, mmap_mode="r")
        self.tiles, self.tokens, self.nuclei = load("tiles.npy"), load("tokens.npy"), load("nuclei.npy")
        done = json.loads((work / "done.json").read_text())
        self.count, self.sources = done["crops"], np.array(done["sources"])

    def targets(self, pick):
        return torch.tensor(np.asarray(self.tokens[pick], np.float32))


@torch.no_grad()
def student_tokens(s, tiles, batch=32):
    with torch.autocast("cpu", torch.bfloat16):
        return torch.cat([model.tokens(s, torch.tensor(data.normalise(tiles[i:i + batch]))).float()
                          for i in range(0, len(tiles), batch)])


def prepare(crops, s, rng):
    """Whitening of the teacher's tokens, of its pooled vectors, and heads that start as least squares."""
    some = np.sort(rng.choice(crops.count, min(1200, crops.count), replace=False))
    y = crops.targets(some)
    places = torch.tensor(rng.choice(256, 48, replace=False)) + 1
    white = {"patch": Whitening.of(y[:, places].flatten(0, 1)), "cls": Whitening.of(y[:, 0]),
             "pooled": Whitening.of(y[:, 1:].mean(1))}
    few = some[::3]
    x, y = student_tokens(s, crops.tiles[few]), y[::3]
    heads = Heads()
    with torch.no_grad():
        for head, a, b in ((heads.patch, x[:, places].flatten(0, 1), white["patch"](y[:, places].flatten(0, 1))),
                           (heads.cls, x[:, 0], white["cls"](y[:, 0]))):
            w, bias = ridge(a, b, 1e-2)
            head.weight.copy_(w), head.bias.copy_(bias)
            print(f"before training, a linear map leaves {float((a @ w.T + bias - b).square().mean() / b.var(0).mean()):.3f}")
        heads.nuclei.weight.zero_(), heads.nuclei.bias.zero_()
    return white, heads


def unwhiten(white, x):
    return torch.linalg.solve(white.matrix.T, x.T).T + white.mean


def loss_of(s, heads, white, seen, target, nuclei):
    """Views 0..BATCH are of different crops; the ones behind are second views of the first."""
    with torch.autocast("cpu", torch.bfloat16):
        t = model.tokens(s, seen)
        patch, cls = heads.patch(t[:, 1:]), heads.cls(t[:, 0])
    patch, cls, pooled = patch.float(), cls.float(), t[:, 1:].float().mean(1)
    first = torch.arange(len(seen)) % BATCH
    y = white["patch"](target[:, 1:])[first]
    out = {"patch": F.smooth_l1_loss(patch, y), "cosine": (1 - F.cosine_similarity(patch, y, dim=-1)).mean(),
           "cls": F.smooth_l1_loss(cls, white["cls"](target[:, 0])[first])}
    # The mean of the mapped tokens, in the units of the teacher's pooled vectors.
    to_pooled = torch.linalg.solve(white["patch"].matrix, white["pooled"].matrix)
    shift = (white["patch"].mean - white["pooled"].mean) @ white["pooled"].matrix
    mean = patch.mean(1) @ to_pooled + shift
    y = white["pooled"](target[:, 1:].mean(1))[first]
    out["pooled"] = F.smooth_l1_loss(mean, y) + 0.5 * (1 - F.cosine_similarity(mean, y, dim=-1)).mean()
    out["views"] = F.smooth_l1_loss(mean[:TWICE], mean[BATCH:]) + F.smooth_l1_loss(patch[:TWICE], patch[BATCH:])
    known = ~torch.isnan(nuclei)[first]
    guess = heads.nuclei((pooled - pooled.mean(-1, keepdim=True)))
    out["nuclei"] = F.smooth_l1_loss(guess[known], nuclei[first][known])
    weight = {"patch": 1.0, "cosine": 0.5, "cls": 0.3, "pooled": 0.7, "views": 0.3, "nuclei": 0.2}
    return sum(weight[k] * v for k, v in out.items()), {k: float(v.detach()) for k, v in out.items()}


@torch.no_grad()
def watch(s, heads, white, views):
    """R2 about the set's own mean of the pooled vector that the head gives: clean, and all perturbations."""
    y = torch.tensor(views["mean"]).float()
    out = []
    for kind, target in (("tiles", y), ("tiles/all five, milder", y[::2]), ("tiles/blur 1.5 px", y[::2])):
        x = student_tokens(s, views[kind])[:, 1:].mean(1)
        guess = unwhiten(white["patch"], heads.patch(x))
        out.append(float(1 - (guess - target).square().sum() / (target - target.mean(0)).square().sum()))
    return out


def main():
    p = data.arguments()
    p.add_argument("--minutes", type=float, default=45)
    p.add_argument("--rate", type=float, default=RATE)
    p.add_argument("--name", default="student")
    p.add_argument("--seed", type=int, default=0)
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    torch.manual_seed(a.seed)
    rng = np.random.default_rng(a.seed)
    crops = Crops(a.work)
    sample = crops.tiles[np.sort(rng.choice(crops.count, 24, replace=False))]
    s = narrow(teacher_blocks(fetch(a.work), model.DEPTH), sample)
    white, heads = prepare(crops, s, rng)
    views = dict(np.load(a.work / "views_selection.npz"))
    print("selection before training: R2 clean, all five, blur", watch(s, heads, white, views), flush=True)
    nuclei = torch.tensor(np.log1p(crops.nuclei[:crops.count]))
    nuclei = (nuclei - nuclei.nanmean(0)) / torch.tensor(np.nanstd(nuclei.numpy(), 0))
    both = torch.nn.ModuleList([s, heads])
    average = copy.deepcopy(both)
    plain = [q for q in both.parameters() if q.ndim < 2 or q.shape[0] == 1]
    weights = [q for q in both.parameters() if not (q.ndim < 2 or q.shape[0] == 1)]
    opt = torch.optim.AdamW([{"params": weights, "weight_decay": DECAY}, {"params": plain, "weight_decay": 0.0}],
                            a.rate, betas=(0.9, 0.98), foreach=True)
    start, order, step, sums = time.time(), [], 0, {}
    while (past := (time.time() - start) / 60 / a.minutes) < 1:
        if len(order) < BATCH:
            order = list(rng.permutation(crops.count))
        pick = np.sort([order.pop() for _ in range(BATCH)])
        tiles = crops.tiles[pick]
        seen = np.stack([perturb.augment(t, rng) for t in (*tiles, *tiles[:TWICE])])
        for g in opt.param_groups:
            g["lr"] = a.rate * min(1, (step + 1) / 30) * (0.02 + 0.98 * 0.5 * (1 + np.cos(np.pi * past)))
        loss, parts = loss_of(s, heads, white, torch.tensor(data.normalise(seen)), crops.targets(pick), nuclei[pick])
        opt.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(both.parameters(), 3.0)
        opt.step()
        step += 1
        keep = min(AVERAGE, (1 + step) / (10 + step))
        with torch.no_grad():
            torch._foreach_lerp_(list(average.parameters()), list(both.parameters()), 1 - keep)
        for k, v in parts.items():
            sums[k] = sums.get(k, 0) + v / 20
        if step % 20 == 0:
            print(f"step {step} at {past:.3f}: " + " ".join(f"{k} {v:.3f}" for k, v in sums.items()), flush=True)
            sums = {}
        if step % 100 == 0:
            save(a, average, white, step, start, f"-{step}")
            print("  selection: R2 clean, all five, blur", [round(v, 3) for v in watch(*average, white, views)],
                  flush=True)
    save(a, average, white, step, start)
    print("selection: R2 clean, all five, blur", watch(*average, white, views))


def save(a, average, white, step, start, at=""):
    torch.save({"student": average[0].state_dict(), "heads": average[1].state_dict(), "steps": step,
                "white": {k: (v.mean, v.matrix) for k, v in white.items()},
                "seconds": time.time() - start}, a.work / f"{a.name}.part")
    (a.work / f"{a.name}.part").rename(a.work / f"{a.name}{at}.pt")


if __name__ == "__main__":
    main()
