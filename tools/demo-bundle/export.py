"""Step 5: the files that the bundle is composed from."""
import json
import shutil
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

import data
import model
import sae as sae_step


def main():
    p = data.arguments()
    p.add_argument("--out", type=Path, default=Path("demo-work/export"))
    a = p.parse_args()
    (a.out / "sae").mkdir(parents=True, exist_ok=True)

    student = sae_step.load_student(a.work / "student.pt")
    save_file({k: v.half().contiguous() for k, v in student.state_dict().items()},
              a.out / "model.safetensors")
    (a.out / "model.json").write_text(json.dumps({
        "architecture": "timm.VisionTransformer", "embed_dim": model.WIDTH, "depth": model.DEPTH,
        "num_heads": model.HEADS, "mlp_ratio": model.HIDDEN / model.WIDTH, "patch_size": model.PATCH, "img_size": 224,
        "layer_norm_eps": 1e-6, "activation": "gelu_erf", "class_token": True,
        "register_tokens": 0, "layer_scale": False, "mpp": data.MPP,
        "mean": [float(f"{v:.3f}") for v in data.MEAN], "std": [float(f"{v:.3f}") for v in data.STD],
        "taps": model.TAPS, "sae_tap": "last"}, indent=1) + "\n")

    saved = torch.load(a.work / "sae.pt")
    save_file({k: v.half().contiguous() for k, v in saved[0]["sae"].items()}, a.out / "sae/sae_weights.safetensors")
    (a.out / "sae/cfg.json").write_text(json.dumps({
        "architecture": "topk", "d_in": model.WIDTH, "d_sae": sae_step.ATOMS,
        "k": saved["k"], "dtype": "float16", "device": "cpu", "apply_b_dec_to_input": True,
        "normalize_activations": "none", "reshape_activations": "none",
        "rescale_acts_by_decoder_norm": False,
        "metadata": {"hook_name": "last", "pooling": "mean_patch_tokens"}}, indent=1) + "\n")

    # Four tiles of CMU-1 (CC0), apart from each other and full of tissue.
    held = np.load(a.work / "views_cmu1.npz")
    share = np.array([data.tissue_fraction(t) for t in held["tiles"]])
    full = np.flatnonzero(share > 0.8)
    pick = full[np.linspace(0, len(full) - 1, 4).round().astype(int)]
    tiles = held["tiles"][pick]
    metrics = json.loads((a.work / "metrics.json").read_text())
    ref = metrics["reference"]
    with torch.no_grad():
        x = torch.tensor(data.normalise(tiles))
        expected = {f"embedding_{k}": v for k, v in model.taps(student, x).items()}
        plain = model.student()
        plain.load_state_dict({k: v.float() for k, v in load_file(a.out / "model.safetensors").items()})
        by_timm = plain.eval().forward_features(x)[:, 1:].mean(1)
        print("difference from timm's own forward pass:", float((by_timm - expected["embedding_last"]).abs().max()))
    save_file({"calibration_tiles": torch.tensor(tiles),
               "reference_mean": torch.tensor(ref["mean"]),
               "reference_mean_squared_distance": torch.tensor([ref["mean_squared_distance"]]),
               **{k: v.contiguous() for k, v in expected.items()}}, a.out / "calibration.safetensors")
    shutil.copy(a.work / "metrics.json", a.out / "metrics.json")
    print({f.name: f.stat().st_size for f in a.out.rglob("*") if f.is_file()})


if __name__ == "__main__":
    main()
