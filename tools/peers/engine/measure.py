"""The CPU engine beside onnxruntime and OpenVINO, in CPU seconds per tile on one thread of one core.

All run the same random weights in one call of this script, in turn, so that a loaded machine slows all of them. A figure
is the median of the rounds; the core's peak is measured in each round too. README.md has the commands.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
MODELS = ["vit-s16", "vit-b16", "vit-l16", "vit-s14"]
# Multiply-adds per tile: products of the layers and of attention, without the SAE.
GMAC = {"vit-s16": 4.6, "vit-b16": 17.6, "vit-l16": 61.6, "vit-s14": 8.07}


class Ours:
    """The example `seconds` of crates/vit."""

    def __init__(self, model, folder):
        command = [ROOT / "target/release/examples/seconds", model, folder]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.families = {}
        for line in self.process.stdout:
            if line.strip() == "ready":
                break
            print(" ", line.strip(), flush=True)
            self.families[line.split()[0]] = line

    def seconds(self, family, tiles):
        self.process.stdin.write(f"{family} {tiles}\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())


def onnxruntime_peer(path, pixels):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {"pixels": pixels})


def onnxruntime_int8(path, pixels, folder):
    """onnxruntime's own dynamic quantisation: activations per tensor, weights per channel."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    small = folder / "int8.onnx"
    # Only matrix products: the patches' convolution is slower in int8 than in float32.
    options = {"weight_type": QuantType.QInt8, "per_channel": True, "op_types_to_quantize": ["MatMul", "Gemm"]}
    quantize_dynamic(str(path), str(small), **options)
    return onnxruntime_peer(small, pixels)


def openvino_int8(path, pixels, tiles):
    """OpenVINO's model, quantised by NNCF's preset for transformers on the same tiles."""
    import nncf
    import openvino

    model = openvino.Core().read_model(str(path))
    quantised = nncf.quantize(
        model, nncf.Dataset(list(tiles), lambda tile: {0: tile[None]}), model_type=nncf.ModelType.TRANSFORMER
    )
    return openvino_compiled(quantised, pixels, "f32")


def openvino_peer(path, pixels, precision):
    import openvino

    return openvino_compiled(openvino.Core().read_model(str(path)), pixels, precision)


def openvino_compiled(model, pixels, precision):
    request = openvino_request(model, precision)
    return lambda: request.infer({0: pixels})


def openvino_request(model, precision):
    import openvino

    settings = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": precision}
    return openvino.Core().compile_model(model, "CPU", settings).create_infer_request()


def timed(run, tiles):
    before = time.process_time()
    for _ in range(tiles):
        run()
    return (time.process_time() - before) / tiles


def peaks(folder):
    """GMAC/s of each kind of multiply-add that this core has."""
    program = folder / "peak"
    subprocess.run(["cc", "-O3", "-o", program, HERE / "peak.c"], check=True)
    flags = Path("/proc/cpuinfo").read_text()
    kinds = {"avx2": "avx2", "avx512f": "avx512", "avx512_bf16": "bf16", "avx512_fp16": "fp16", "avx512_vnni": "vnni"}
    here = [kind for flag, kind in kinds.items() if flag in flags]
    return lambda: {k: float(v) for k, v in (l.split() for l in subprocess.check_output([program, *here], text=True).splitlines())}


def measure(model, rounds, half, int8):
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        ours = Ours(model, folder)
        pixels = np.frombuffer((folder / "tiles.bin").read_bytes(), np.uint8)[: 224 * 224 * 3].reshape(1, 224, 224, 3)
        onnx, peak = folder / "model.onnx", peaks(folder)
        peers = {"onnxruntime": onnxruntime_peer(onnx, pixels), "openvino f32": openvino_peer(onnx, pixels, "f32")}
        if half:
            peers["openvino bf16"] = openvino_peer(onnx, pixels, "bf16")
        if int8:
            every = np.frombuffer((folder / "tiles.bin").read_bytes(), np.uint8).reshape(-1, 224, 224, 3)
            for name, make in [
                ("onnxruntime int8", lambda: onnxruntime_int8(onnx, pixels, folder)),
                ("openvino int8", lambda: openvino_int8(onnx, pixels, every)),
            ]:
                try:
                    peers[name] = make()
                except Exception as error:  # A peer's own fault, or a package that is not there: said and left out.
                    print(f"  {name}: not measured, {type(error).__name__}: {error}", flush=True)
        tiles = max(1, round(20 / GMAC[model]))
        found = {name: [] for name in [*ours.families, *peers]}
        best = {}
        for run in peers.values():
            run()
        for _ in range(rounds):
            for family in ours.families:
                found[family].append(ours.seconds(family, tiles))
            for name, run in peers.items():
                found[name].append(timed(run, tiles))
            for kind, rate in peak().items():
                best.setdefault(kind, []).append(rate)
        ours.process.stdin.close()
    base = found["onnxruntime"]
    print(f"{model}: peak " + ", ".join(f"{kind} {statistics.median(v):.0f} GMAC/s" for kind, v in best.items()))
    for name, seconds in found.items():
        # Rounds are compared within themselves: a neighbour's load changes from one to the next.
        ratio = statistics.median(b / s for b, s in zip(base, seconds))
        middle = statistics.median(seconds)
        print(f"  {name:24} {1000 * middle:8.2f} ms {GMAC[model] / middle:7.1f} GMAC/s {ratio:6.2f} x onnxruntime", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--models", nargs="+", default=MODELS, choices=MODELS)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--core", type=int, default=0, help="the core that everything runs on")
    parser.add_argument("--half", action="store_true", help="OpenVINO in bfloat16 too")
    parser.add_argument("--int8", action="store_true", help="the peers in int8 too")
    arguments = parser.parse_args()
    os.sched_setaffinity(0, {arguments.core})
    for model in arguments.models:
        measure(model, arguments.rounds, arguments.half, arguments.int8)


if __name__ == "__main__":
    sys.exit(main())
