"""A TopK sparse autoencoder in NumPy, trained with Adam, and SAELens' files of it.

    p = (x - b_dec) W_enc + b_enc      f = ReLU(the k largest of p)      x' = f W_dec + b_dec
"""

import json

import numpy as np
from safetensors.numpy import save_file

IDLE = 250  # steps without being active after which a feature counts as dead and learns the residual
AUXILIARY = 1 / 32  # weight of that loss


def top(p, k):
    """The k largest of each row, negative ones as 0, and everything else 0."""
    at = np.argpartition(-p, k - 1, 1)[:, :k]
    f = np.zeros_like(p)
    np.put_along_axis(f, at, np.maximum(np.take_along_axis(p, at, 1), 0), 1)
    return f


class TopK:
    """The autoencoder; `w` are its tensors in SAELens' names and shapes."""

    def __init__(self, w, k):
        self.w, self.k = w, k

    def pre(self, x):
        return (x - self.w["b_dec"]) @ self.w["W_enc"] + self.w["b_enc"]

    def encode(self, x):
        return top(self.pre(x), self.k)

    def decode(self, f):
        return f @ self.w["W_dec"] + self.w["b_dec"]

    def as_type(self, dtype):
        return TopK({name: value.astype(dtype) for name, value in self.w.items()}, self.k)

    def figures(self, x):
        """Fraction of variance unexplained, active features per vector, and features that none activates."""
        f = self.encode(x)
        fvu = ((x - self.decode(f)) ** 2).sum() / ((x - x.mean(0)) ** 2).sum()
        active = f > 0
        l0, dead = active.sum(1).mean(), (~active.any(0)).sum()
        return {"tiles": len(x), "fvu": float(fvu), "l0": float(l0), "dead": int(dead)}

    def write(self, out, hook):
        """SAELens' two files. `hook`: the tap that it reads."""
        d_in, d_sae = self.w["W_enc"].shape
        out.mkdir(parents=True, exist_ok=True)
        save_file(self.as_type(np.float32).w, str(out / "sae_weights.safetensors"))
        config = {
            "architecture": "topk",
            "d_in": d_in,
            "d_sae": d_sae,
            "k": self.k,
            "dtype": "float32",
            "device": "cpu",
            "apply_b_dec_to_input": True,
            "normalize_activations": "none",
            "reshape_activations": "none",
            "rescale_acts_by_decoder_norm": False,
            "metadata": {"hook_name": hook},
        }
        (out / "cfg.json").write_text(json.dumps(config, indent=2) + "\n")


def geometric_median(x, steps=50):
    """The point with the least sum of distances (Weiszfeld's iteration)."""
    at = x.mean(0)
    for _ in range(steps):
        weight = 1 / np.maximum(np.linalg.norm(x - at, axis=1), 1e-9)
        at = (weight[:, None] * x).sum(0) / weight.sum()
    return at


def unit_rows(w):
    return w / np.linalg.norm(w, axis=1, keepdims=True)


class Adam:
    def __init__(self, weights, betas=(0.9, 0.99)):
        self.betas, self.step = betas, 0
        self.moments = {name: (np.zeros_like(w), np.zeros_like(w)) for name, w in weights.items()}

    def update(self, weights, gradients, rate):
        self.step += 1
        (b1, b2), eps = self.betas, 1e-8
        rate = rate * np.sqrt(1 - b2**self.step) / (1 - b1**self.step)
        for name, g in gradients.items():
            m, v = self.moments[name]
            m += (1 - b1) * (g - m)
            v += (1 - b2) * (g * g - v)
            weights[name] -= rate * m / (np.sqrt(v) + eps)


def gradients(sae, x, dead):
    """The loss |x - x'|^2 / d, and where features are dead the part of the residual that they could explain."""
    w, n = sae.w, x.size
    p = sae.pre(x)
    f = top(p, sae.k)
    error = f @ w["W_dec"] + w["b_dec"] - x
    to_decoded = 2 / n * error
    to_f = (to_decoded @ w["W_dec"].T) * (f > 0)
    decoder = f.T @ to_decoded
    if dead.any():
        auxiliary = top(np.where(dead, p, -np.inf), min(2 * sae.k, int(dead.sum())))
        to_residual = 2 * AUXILIARY / n * (auxiliary @ w["W_dec"] + error)
        to_f += (to_residual @ w["W_dec"].T) * (auxiliary > 0)
        decoder += auxiliary.T @ to_residual
    # What would only change the length of a decoder's row is taken out: rows have unit length.
    decoder -= (decoder * w["W_dec"]).sum(1, keepdims=True) * w["W_dec"]
    centred = x - w["b_dec"]
    found = {
        "W_enc": centred.T @ to_f,
        "b_enc": to_f.sum(0),
        "W_dec": decoder,
        "b_dec": to_decoded.sum(0) - (w["W_enc"] @ to_f.sum(0)),
    }
    return found, (f > 0).any(0)


def train(x, d_sae, k, steps, watch, batch=512, rate=1e-3, seed=0):
    """Trains on `x`; prints how well it does on it and on `watch`, sets by name."""
    random = np.random.default_rng(seed)
    d = x.shape[1]
    scale = np.float32(1 / np.sqrt(((x - x.mean(0)) ** 2).mean()))  # one rate for any embedding
    x = x * scale
    rows = unit_rows(random.normal(size=(d_sae, d)).astype(np.float32))
    weights = {
        "W_enc": rows.T.copy(),
        "b_enc": np.zeros(d_sae, np.float32),
        "W_dec": rows,
        "b_dec": geometric_median(x).astype(np.float32),
    }
    sae, adam, idle = TopK(weights, k), Adam(weights), np.zeros(d_sae, int)
    for step in range(steps):
        found, active = gradients(sae, x[random.integers(0, len(x), batch)], idle > IDLE)
        adam.update(weights, found, rate * min(1, (step + 1) / 100, 5 * (steps - step) / steps))
        weights["W_dec"][:] = unit_rows(weights["W_dec"])
        idle = np.where(active, 0, idle + 1)
        if (step + 1) % 250 == 0:
            sets = {"training": x, **{name: v * scale for name, v in watch.items()}}
            shown = ", ".join(f"{name} {sae.figures(v)['fvu']:.3f}" for name, v in sets.items())
            print(f"     step {step + 1}: idle {int((idle > IDLE).sum())}, FVU {shown}", flush=True)
    weights["b_dec"] /= scale  # back to the embeddings' own scale; decoder rows keep unit length
    weights["b_enc"] /= scale
    return sae
