"""Memory and time per step of `coverslip sae train` against the number of rows: random rows on a subspace, written piece by piece.

    python scale.py --coverslip BINARY --work DIR [--rows 10000 100000 1000000] [--width 192] [--steps 500]

RssAnon is polled from /proc ten times a second: the page cache of the file is not the process's.
"""

import argparse
import json
import pathlib
import struct
import subprocess
import time

import numpy as np


def write(path, rows, width, seed=0):
    random = np.random.default_rng(seed)
    basis = random.standard_normal((16, width)).astype(np.float32)
    header = {"embedding_random": {"dtype": "F32", "shape": [rows, width], "data_offsets": [0, 4 * rows * width]}}
    header = json.dumps(header).encode()
    header += b" " * (-len(header) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        for first in range(0, rows, 10000):
            n = min(10000, rows - first)
            x = random.standard_normal((n, 16)).astype(np.float32) @ basis
            file.write((x + 0.3 * random.standard_normal((n, width), dtype=np.float32)).tobytes())
    with open(path.with_suffix(".csv"), "w") as file:
        file.write("slide,tile\n")
        file.writelines(f"slide{row * 50 // rows},{row}\n" for row in range(rows))


def anonymous(pid):
    try:
        for line in open(f"/proc/{pid}/status"):
            if line.startswith("RssAnon"):
                return int(line.split()[1]) / 1024
    except (FileNotFoundError, ProcessLookupError):
        pass
    return 0.0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--coverslip", required=True)
    parser.add_argument("--work", required=True, type=pathlib.Path)
    parser.add_argument("--rows", type=int, nargs="*", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--width", type=int, default=192)
    parser.add_argument("--steps", type=int, default=500)
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    for rows in args.rows:
        path = args.work / f"{rows}.safetensors"
        if not path.exists():
            write(path, rows, args.width)
        out = args.work / f"sae{rows}"
        command = [args.coverslip, "sae", "train", "--embeddings", path, "--out", out, "--steps", args.steps, "--threads", 2]
        begun = time.time()
        child = subprocess.Popen([str(part) for part in command + ["--k", 32, "--restart"]], stdout=subprocess.DEVNULL)
        peak = 0.0
        while child.poll() is None:
            peak = max(peak, anonymous(child.pid))
            time.sleep(0.1)
        assert child.returncode == 0
        details = json.load(open(out / "cfg.json"))["metadata"]["training_details"]
        print(
            f"{rows} rows: {1e3 * details['seconds_per_step']:.2f} ms per step, {1e3 * (time.time() - begun) / args.steps:.2f} ms "
            f"with reading and everything, RssAnon at most {peak:.0f} MiB",
            flush=True,
        )


main()
