"""Small checkpoints as torch writes them, for the tests of crates/import/src/{pickle,torch}.rs.

    python tools/goldens/torch_files.py        # needs torch, numpy, joblib; writes crates/import/tests/golden/torch/

Beside every checkpoint that is read lies NAME.json: each tensor's element type, shape and values.
Made with torch 2.15, Python 3.11.
"""
import argparse
import json
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path

import joblib
import numpy as np
import torch
from torch import nn

HERE = Path(__file__).resolve().parents[2] / "crates/import/tests/golden/torch"
# What Coverslip reads; tensors of other types (below: int16, uint16, complex) are left out.
TYPES = {torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "Bf16", torch.int64: "I64",
         torch.int32: "I32", torch.uint8: "U8", torch.bool: "U8"}


class Subclass(torch.Tensor):
    """A tensor of a class of its own (`_rebuild_from_type_v2`)."""


class Sae(nn.Module):
    """What torch.save(model) of a research repository looks like."""

    def __init__(self):
        super().__init__()
        self.k, self.activation = 32, "TopK"
        self.encoder = nn.Linear(3, 4)
        self.decoder = nn.ModuleList([nn.Linear(4, 3, bias=False), nn.BatchNorm1d(3)])
        self.pre_bias = nn.Parameter(torch.tensor([0.5, -0.5, 0.25]))
        self.register_buffer("mean", torch.tensor([1.0, 2.0, 3.0]))
        self.register_buffer("scratch", torch.zeros(2), persistent=False)
        self.register_buffer("absent", None)
        for parameter in self.parameters():  # few digits, so that any reader of JSON reads them exactly
            parameter.data = torch.arange(parameter.numel(), dtype=torch.float32).reshape(parameter.shape) / 8


def tensors():
    """Every way in which a tensor may lie in its storage, every element type."""
    base = torch.arange(24, dtype=torch.float32).reshape(4, 6) / 8
    all = {f"type.{dtype}".replace("torch.", ""): torch.tensor([[0, 1, 2], [3, 4, 5]]).to(dtype) for dtype in TYPES}
    all |= {"base": base, "transposed": base.T, "sliced": base[1:3, ::2], "last": base[3, 5],
            "expanded": torch.tensor([[7.0], [8.0]]).expand(2, 3), "empty": torch.zeros(0, 3),
            "negative": torch.tensor([-1.5, 0.0625, 65504.0]).half(),
            "parameter": nn.Parameter(torch.tensor([1.0, 2.0])),
            "subclass": torch.tensor([3.0, 4.0]).as_subclass(Subclass)}
    all["parameter_with_state"] = nn.Parameter(torch.tensor([5.0]))
    all["parameter_with_state"].note = "kept"
    return OrderedDict(all)


def checkpoint():
    """Tensors beside everything else that people save."""
    moments = {0: {"step": torch.tensor(3.0), "exp_avg": torch.ones(2)}}
    return {"model": tensors(), "activation": "TopK", "activation_state_dict": {"k": 32}, "epoch": 7, "loss": 0.125,
            "done": True, "nothing": None, "seed": 2**63 + 1, "negative": -5, "wide": 2**40, "history": [1.0, (2, "ä")],
            "optimizer": {"state": moments, "param_groups": [{"lr": 1e-3, "params": [0]}]},
            "args": argparse.Namespace(k=64, name="sae"), "size": torch.Size([2, 3]), "device": torch.device("cpu"),
            "dtype": torch.bfloat16, "numpy": np.float64(0.5), "tags": {"one"}, "complex": torch.tensor([1j]),
            "short": torch.tensor([1], dtype=torch.int16),
            "unsigned": torch.tensor([1, 2], dtype=torch.uint16), "mixed": {2: "two", 1.5: "x", None: "none"}}


def flat(value, name=""):
    """(name, tensor) as TorchFile::tensors flattens them."""
    if isinstance(value, torch.Tensor):
        if value.dtype in TYPES:
            yield name, value
    elif isinstance(value, (dict, list, tuple)):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in items:
            yield from flat(item, f"{name}.{key}" if name else str(key))


def expect(name, value):
    rows = {key: {"element": TYPES[tensor.dtype], "shape": list(tensor.shape),
                  "values": tensor.detach().double().flatten().tolist()} for key, tensor in flat(value)}
    (HERE / f"{name}.json").write_text(json.dumps(rows, indent=0) + "\n")


def main():
    HERE.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    torch.save(checkpoint(), HERE / "checkpoint.pt")
    torch.save(checkpoint(), HERE / "protocol4.pt", pickle_protocol=4)
    expect("checkpoint", checkpoint())
    torch.save({"w": torch.tensor([[1.0, 2.0]])}, HERE / "small.pt")
    model = Sae()
    torch.save(model, HERE / "module.pt")
    expect("module", model.state_dict())

    # Refused by name.
    torch.save({"w": torch.ones(2)}, HERE / "legacy.pt", _use_new_zipfile_serialization=False)
    torch.jit.save(torch.jit.script(nn.Linear(2, 1)), HERE / "script.pt")
    joblib.dump({"w": np.ones(2)}, HERE / "joblib.bin")
    with zipfile.ZipFile(HERE / "small.pt") as small, \
            zipfile.ZipFile(HERE / "deflated.pt", "w", zipfile.ZIP_DEFLATED) as deflated, \
            zipfile.ZipFile(HERE / "big_endian.pt", "w") as big:
        for entry in small.infolist():
            content = small.read(entry)
            deflated.writestr(entry.filename, content)
            big.writestr(entry.filename, b"big" if entry.filename.endswith("byteorder") else content)

    # One value in every protocol; the list is shared and was memoized before it was filled.
    shared = [1, -2, 300, 70000, 2**40]
    plain = {"ints": shared, "again": shared, "floats": (0.5, -1.25), "truth": [True, False, None], "text": "äb", 1: ()}
    for protocol in range(6):
        (HERE / f"plain{protocol}.pkl").write_bytes(pickle.dumps(plain, protocol))


if __name__ == "__main__":
    main()
