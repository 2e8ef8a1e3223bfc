"""A few training steps of every SAE objective in PyTorch, float64, by autograd: what coverslip_analysis::sae has to do.

    python sae_training.py OUT.json        # crates/analysis/tests/golden/sae_training.json

Needs torch (CPU). The objectives are written from their papers, not from the Rust code; only the choice of units is shared:
loss = mean ||x' - x||^2 + penalty, Adam by torch.optim.
"""

import json
import sys

import torch

torch.set_default_dtype(torch.float64)
D, M, B, STEPS, RATE, BANDWIDTH, CLIP = 6, 12, 16, 6, 1e-2, 0.6, 28.0
CASES = {
    "topk": {"k": 3},
    "topk_auxiliary": {"k": 3, "auxiliary": 1 / 32, "dead": [1, 4, 7, 9]},
    "batchtopk": {"k": 3},
    "relu": {"l1": 0.3},
    "jumprelu": {"l0": 0.2},
    "matryoshka": {"k": 3, "levels": 3},
}


def rounded(tensor):
    """Values that float32 holds exactly, so that both sides begin alike."""
    return tensor.to(torch.float32).to(torch.float64)


class Jump(torch.autograd.Function):
    """p * 1[p > theta] and 1[p > theta], with the rectangle estimate of arXiv 2407.14435 for theta."""

    @staticmethod
    def forward(ctx, p, theta):
        ctx.save_for_backward(p, theta)
        return p * (p > theta), (p > theta).to(p.dtype)

    @staticmethod
    def backward(ctx, by_value, by_count):
        p, theta = ctx.saved_tensors
        kernel = ((p - theta).abs() < BANDWIDTH / 2).to(p.dtype) / BANDWIDTH
        return by_value * (p > theta), (-kernel * (theta * by_value + by_count)).sum(0)


def top(p, k):
    """The k largest of ReLU(p) in each row."""
    relu = p.relu()
    values, places = relu.topk(k, dim=1)
    return torch.zeros_like(p).scatter(1, places, values)


def loss(name, case, x, w):
    p = (x - w["b_dec"]) @ w["w_enc"].T + w["b_enc"]
    penalty = 0.0
    if name.startswith("topk"):
        f = top(p, case["k"])
    elif name in ("batchtopk", "matryoshka"):
        relu = p.relu()
        bar = relu.flatten().topk(B * case["k"]).values.min()
        f = relu * (relu >= bar)
    elif name == "relu":
        f = p.relu()
        penalty = case["l1"] * f.sum(1).mean()
    else:
        f, count = Jump.apply(p, w["log_threshold"].exp())
        penalty = case["l0"] * count.sum(1).mean()
    error = f @ w["w_dec"] + w["b_dec"] - x
    total = error.pow(2).sum(1).mean() + penalty
    if name == "matryoshka":  # prefixes of M/4, M/2 and M features, each on its own
        sizes = [M >> halvings for halvings in reversed(range(case["levels"]))]
        parts = [f[:, :size] @ w["w_dec"][:size] + w["b_dec"] - x for size in sizes]
        total = sum(part.pow(2).sum(1).mean() for part in parts) / len(parts)
    if "dead" in case:
        dead = torch.zeros(M, dtype=torch.bool)
        dead[case["dead"]] = True
        most = D // 2
        scale = min(len(case["dead"]) / most, 1.0)
        rest = top(p.masked_fill(~dead, float("-inf")), min(most, len(case["dead"])))
        total = total + case["auxiliary"] * scale * (rest @ w["w_dec"] + error.detach()).pow(2).sum(1).mean()
    return total


def main():
    out = {"width": D, "features": M, "rate": RATE, "bandwidth": BANDWIDTH, "clip": CLIP, "steps": STEPS, "cases": {}}
    for number, (name, case) in enumerate(CASES.items()):
        torch.manual_seed(number)
        x = rounded(torch.randn(B, D) * 2)
        w = {
            "w_enc": rounded(torch.randn(M, D) / 2),
            "b_enc": rounded(torch.randn(M) / 4),
            "w_dec": torch.nn.functional.normalize(torch.randn(M, D), dim=1),
            "b_dec": rounded(torch.randn(D) / 4),
            "log_threshold": rounded(torch.randn(M) / 4).exp().log() - 0.5,
        }
        w["w_dec"] = rounded(w["w_dec"])
        threshold = rounded(w["log_threshold"].exp())
        w["log_threshold"] = threshold.log()
        stated = {key: value.flatten().tolist() for key, value in w.items() if key != "log_threshold"}
        stated["threshold"] = threshold.tolist()
        w = {key: value.clone().requires_grad_() for key, value in w.items()}
        optimizer = torch.optim.Adam(w.values(), lr=RATE, betas=(0.9, 0.999), eps=1e-8)
        losses, lengths = [], []
        for _ in range(STEPS):
            optimizer.zero_grad()
            value = loss(name, case, x, w)
            value.backward()
            losses.append(value.item() / D)
            with torch.no_grad():
                grad, row = w["w_dec"].grad, w["w_dec"]
                grad -= (grad * row).sum(1, keepdim=True) * row
            lengths.append(torch.nn.utils.clip_grad_norm_(w.values(), CLIP).item())
            optimizer.step()
            with torch.no_grad():
                w["w_dec"] /= w["w_dec"].norm(dim=1, keepdim=True)
        print(name, [round(length, 2) for length in lengths])
        after = {key: value.detach().flatten().tolist() for key, value in w.items() if key != "log_threshold"}
        after["threshold"] = w["log_threshold"].detach().exp().tolist()
        short = lambda values: [float(f"{v:.9g}") for v in values]
        out["cases"][name] = {
            **case,
            "x": short(x.flatten().tolist()),
            "before": {key: short(values) for key, values in stated.items()},
            "after": {key: short(values) for key, values in after.items()},
            "losses": short(losses),
        }
    json.dump(out, open(sys.argv[1], "w"), separators=(",", ":"))


main()
