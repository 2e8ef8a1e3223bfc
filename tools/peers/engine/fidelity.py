"""The peers' int8 beside ours at equal fidelity: real tiles, a real model with its SAE, and `coverslip bundle quantise`'s
gate for all. README.md has the commands.

Slides are dealt out as the command does: the first half calibrates and chooses, the other judges. What a tile's features
are compared with are those of onnxruntime in float32 on the same graph. Times are CPU seconds of one thread on one core,
all in turn in every round.
"""

import argparse
import json
import os
import re
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import onnx
from measure import ROOT, Ours, openvino_request, timed
from safetensors.numpy import load_file

GATE = {"overlap": 0.95, "low": 0.90, "value": 0.98}
MARGIN = 0.005  # of overlap, on the tiles that choose
FEW = 24  # tiles on which a layer's cost is measured
SEARCHING = 3  # the search calibrates NNCF on every third tile
LAYERS = {"attn.q": "qkv", "attn.k": "qkv", "attn.v": "qkv", "attn.proj": "proj", "mlp.fc1": "fc1", "mlp.fc2": "fc2"}
FEATURES = ["feature_index", "feature_value"]


class Tiles:
    """Tiles of some slides."""

    def __init__(self, slides):
        self.pixels = np.concatenate(slides)
        ends = np.cumsum([len(slide) for slide in slides])
        self.slides = [slice(end - len(slide), end) for slide, end in zip(slides, ends)]


def dealt(path):
    """The tiles that calibrate, and those that judge."""
    file = load_file(path)
    slides = [file["tiles"][file["slide"] == number] for number in np.unique(file["slide"])]
    return Tiles(slides[::2]), Tiles(slides[1::2])


def fidelity(expected, found, slides):
    """lab/src/bundle/quantise/fidelity.rs: shares of the active features that are reported too, by number and by value;
    the mean of the slides' means, and the tile at the 5th percentile."""
    shares = []
    for index, value, other, of_other in zip(*expected, *found):
        active = value != 0
        same = active & np.isin(index, other[of_other != 0])
        weights = np.abs(value[active].astype(float)).sum()
        by_value = np.abs(value[same].astype(float)).sum() / weights if weights else 1.0
        shares.append((same.sum() / active.sum() if active.any() else 1.0, by_value))
    shares = np.array(shares)
    overlap, value = np.mean([shares[slide].mean(0) for slide in slides], 0)
    return {"overlap": overlap, "low": np.sort(shares[:, 0])[len(shares) // 20], "value": value}


def holds(found, margin=0.0):
    return all(found[name] >= least + (margin if name == "overlap" else 0) for name, least in GATE.items())


def text(found):
    return f"overlap {found['overlap']:.3f} low {found['low']:.3f} by value {found['value']:.3f}"


def outputs(run, tiles):
    """What a peer reports for tiles: index and value."""
    found = [run(tile[None]) for tile in tiles]
    return [np.concatenate([np.asarray(tile[i]).reshape(1, -1) for tile in found]) for i in range(2)]


class Onnxruntime:
    """Its dynamic quantisation: activations per tensor when it runs, weights beforehand."""

    def __init__(self, path, folder, tap):
        self.path, self.folder, self.tap = path, folder, tap
        self.number = 0
        graph = onnx.load(path).graph
        sizes = {tensor.name: int(np.prod(tensor.dims)) for tensor in graph.initializer}
        self.products = [node.name for node in graph.node if node.op_type in ("MatMul", "Gemm")]
        self.layers, self.work = {}, {}
        for node in graph.node:
            place = re.fullmatch(r"block(\d+)\.(.+)\.product", node.name)
            if node.op_type == "MatMul" and place:
                layer = (int(place[1]), LAYERS[place[2]])
                self.layers.setdefault(layer, []).append(node.name)
                self.work[layer] = self.work.get(layer, 0) + sizes[node.input[1]]

    def session(self, path, names=FEATURES):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        return lambda pixels: session.run(names, {"pixels": pixels})

    def quantised(self, nodes, names=FEATURES, **options):
        from onnxruntime.quantization import QuantType, quantize_dynamic

        small = self.folder / f"int8-{self.number}.onnx"
        self.number += 1
        options = {"weight_type": QuantType.QInt8, "per_channel": True, **options}
        quantize_dynamic(str(self.path), str(small), nodes_to_quantize=nodes, op_types_to_quantize=["MatMul", "Gemm"], **options)
        run = self.session(small, names)
        small.unlink()
        return run

    def of_layers(self, layers, **options):
        return self.quantised([name for layer in layers for name in self.layers[layer]], **options)

    def order(self, tiles):
        """The layers by the squared distance that each adds alone at the SAE's tap, per multiply-add."""
        embedding = [f"embedding_{self.tap}"]
        few = tiles.pixels[:: -(-len(tiles.pixels) // FEW)]
        of = lambda run: np.concatenate([run(tile[None])[0].ravel() for tile in few]).astype(float)
        exact = of(self.session(self.path, embedding))
        cost = {}
        for layer in self.layers:
            found = of(self.of_layers([layer], names=embedding))
            cost[layer] = ((found - exact) ** 2).sum() / self.work[layer]
        return sorted(cost, key=cost.get)


def chosen(order, make, tiles, expected):
    """The most layers of the order that hold the gate with a margin on the tiles that choose: how many, and the engine."""
    best, least, fails = None, 1, len(order) + 1
    while least < fails:
        count = (least + fails) // 2
        run = make(order[:count])
        found = fidelity(expected, outputs(run, tiles.pixels), tiles.slides)
        print(f"    {count} of {len(order)} layers in int8: {text(found)}", flush=True)
        if holds(found, MARGIN):
            best, least = (count, run), count + 1
        else:
            fails = count
    return best


class OpenVINO:
    """Its graph quantised by NNCF, calibrated on the tiles that calibrate."""

    def __init__(self, path, tiles):
        import openvino

        self.model = openvino.Core().read_model(str(path))
        self.tiles = tiles
        self.names = [op.get_friendly_name() for op in self.model.get_ops() if op.get_type_name() == "MatMul"]

    def preset(self, left, step=1):
        """NNCF's preset for transformers, with SmoothQuant; the products named in `left` stay in floats. Calibrated on
        every tile of `step`."""
        import nncf

        tiles = self.tiles.pixels[::step]
        return nncf.quantize(
            self.model,
            nncf.Dataset(list(tiles), lambda tile: {0: tile[None]}),
            subset_size=len(tiles),
            model_type=nncf.ModelType.TRANSFORMER,
            ignored_scope=nncf.IgnoredScope(names=[name for name in self.names if name in left]),
        )

    @staticmethod
    def run(model, precision):
        request = openvino_request(model, precision)

        def run(pixels):
            request.infer({0: pixels})
            return [request.get_tensor(name).data.copy() for name in FEATURES]

        return run


class Run:
    """Everything that is compared: names with what runs a tile, and how near each is to float32."""

    def __init__(self, folder, bundle, calibrating, judging, rounds):
        self.folder, self.calibrating, self.judging, self.rounds = folder, calibrating, judging, rounds
        (folder / "tiles.bin").write_bytes(judging.pixels.tobytes())
        self.ours = Ours(bundle, folder)
        manifest = json.loads((bundle / "manifest.json").read_text())
        mix = manifest["int8"]["layers"]
        self.ours_in_int8 = [(block, layer) for block, layers in enumerate(mix) for layer in layers]
        self.onnxruntime = Onnxruntime(folder / "model.onnx", folder, manifest["sae"]["tap"])
        float32 = self.onnxruntime.session(folder / "model.onnx")
        self.peers = {"onnxruntime float32": float32}
        self.expected = outputs(float32, judging.pixels)
        self.of_calibrating = outputs(float32, calibrating.pixels)
        self.found = {}
        self.judge("onnxruntime float32", self.expected)
        for family in self.ours.families:
            self.judge(f"coverslip {family}", self.of_ours(family))

    def of_ours(self, family):
        self.ours.process.stdin.write(f"{family} features\n")
        self.ours.process.stdin.flush()
        self.ours.process.stdout.readline()
        pairs = np.fromfile(self.folder / "features.bin", np.uint32).reshape(len(self.judging.pixels), -1, 2)
        return [pairs[..., 0].astype(np.int32), pairs[..., 1].copy().view(np.float32)]

    def kept_order(self):
        """The order of the layers, of an earlier run in the same folder if there was one: it takes minutes."""
        path = self.folder / "order.json"
        if not path.exists():
            path.write_text(json.dumps(self.onnxruntime.order(self.calibrating)))
        return [tuple(layer) for layer in json.loads(path.read_text())]

    def judge(self, name, found):
        self.found[name] = fidelity(self.expected, found, self.judging.slides)
        print(f"  {name}: {text(self.found[name])}", flush=True)

    def add(self, name, make):
        begun = time.process_time()
        try:
            self.peers[name] = run = make()
        except Exception as error:  # A peer's own fault: said and left out.
            print(f"  {name}: not measured, {type(error).__name__}: {error}", flush=True)
            return
        self.judge(name, outputs(run, self.judging.pixels))
        print(f"    made and judged in {time.process_time() - begun:.0f} s of CPU", flush=True)

    def seconds(self):
        """CPU seconds of a tile by every engine, in each round."""
        tile, tiles = self.judging.pixels[:1], 2
        seconds = {name: [] for name in self.found}
        for _ in range(self.rounds):
            for family in self.ours.families:
                seconds[f"coverslip {family}"].append(self.ours.seconds(family, tiles))
            for name, run in self.peers.items():
                seconds[name].append(timed(lambda: run(tile), tiles))
        return seconds

    def table(self):
        seconds = self.seconds()
        base = seconds["onnxruntime float32"]
        print("| engine | ms per tile | x onnxruntime float32 | overlap | 5th percentile | by value | gate |")
        print("|---|---|---|---|---|---|---|")
        for name, found in self.found.items():
            ratio = statistics.median(b / s for b, s in zip(base, seconds[name]))
            print(
                f"| {name} | {1e3 * statistics.median(seconds[name]):.1f} | {ratio:.2f} | {found['overlap']:.3f} "
                f"| {found['low']:.3f} | {found['value']:.3f} | {'holds' if holds(found) else 'fails'} |"
            )


def dynamic(run):
    """onnxruntime's dynamic quantisation, and the most of its layers that hold the gate. Gives their order."""
    peer = run.onnxruntime
    every = list(peer.layers)
    run.add("onnxruntime int8, every product, scales per tensor", lambda: peer.quantised(peer.products, per_channel=False))
    run.add("onnxruntime int8, every product", lambda: peer.quantised(peer.products))
    run.add("onnxruntime int8, the 48 layers", lambda: peer.of_layers(every))
    run.add("onnxruntime int8, the 48 layers, weights of 7 bits", lambda: peer.of_layers(every, reduce_range=True))
    run.add("onnxruntime int8, the layers of our mix", lambda: peer.of_layers(run.ours_in_int8))
    order = run.kept_order()
    best = chosen(order, peer.of_layers, run.calibrating, run.of_calibrating)
    if best:
        run.add(f"onnxruntime int8, {best[0]} of {len(order)} layers", lambda: best[1])
    return order


def static(run, order):
    """OpenVINO's model by NNCF: its preset, with what ours leaves in floats too, and the most that holds the gate."""
    peer = OpenVINO(run.folder / "model.onnx", run.calibrating)
    of_layers = run.onnxruntime.layers

    def left(layers):
        """The names of all products but those of these layers."""
        inside = {name for layer in layers for name in of_layers[layer]}
        return [name for name in peer.names if name not in inside]

    def add(name, make):
        model = make()
        for rest, short in [("float32", "f32"), ("bfloat16", "bf16")]:
            run.add(f"openvino int8, {name}, {rest} beside", lambda: peer.run(model, short))

    run.add("openvino float32", lambda: peer.run(peer.model, "f32"))
    run.add("openvino bfloat16", lambda: peer.run(peer.model, "bf16"))
    add("every product", lambda: peer.preset([]))
    add("the 48 layers", lambda: peer.preset(left(order)))
    add("the layers of our mix", lambda: peer.preset(left(run.ours_in_int8)))
    quick = lambda layers: peer.run(peer.preset(left(layers), SEARCHING), "bf16")
    best = chosen(order, quick, run.calibrating, run.of_calibrating)
    if best:
        add(f"{best[0]} of {len(order)} layers", lambda: peer.preset(left(order[: best[0]])))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("bundle", type=Path, help="written by `coverslip bundle quantise` with the same tiles")
    parser.add_argument("tiles", type=Path, help="the file of tiles.py")
    parser.add_argument("--work", type=Path, default=ROOT / "target/fidelity", help="where models are written")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--core", type=int, default=0, help="the core that everything runs on")
    arguments = parser.parse_args()
    os.sched_setaffinity(0, {arguments.core})
    calibrating, judging = dealt(arguments.tiles)
    print(f"{len(calibrating.pixels)} tiles calibrate, {len(judging.pixels)} judge", flush=True)
    arguments.work.mkdir(parents=True, exist_ok=True)
    run = Run(arguments.work, arguments.bundle, calibrating, judging, arguments.rounds)
    static(run, dynamic(run))
    run.table()


if __name__ == "__main__":
    sys.exit(main())
