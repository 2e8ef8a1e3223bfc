"""What has to agree, and how closely: the two bundles with each other and with onnxruntime on the original file.

Everything is computed from the same tiles. The embeddings of two right computations differ by float32's rounding:
the line `fused : as it is` shows what onnxruntime differs from itself when it may rewrite the graph, and is the
yardstick for the others. The tolerance, 1 - cosine <= 1e-9 (a relative error of 5e-5), is far above that and far
below what a mistake gives; README.md has figures for some. Tolerances and figures are those of tools/oracle.
"""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "oracle"))
import tensors  # noqa: E402
from oracle import Report, compare  # noqa: E402
from transcription import Model  # noqa: E402

IN_FLOAT64 = 2  # tiles for the transcription, which is slow


class Tool:
    """The built command. A failure is shown and remembered; the other route goes on."""

    def __init__(self, coverslip, work):
        self.coverslip, self.work, self.report = coverslip, work, Report()

    def call(self, *arguments, show=True):
        """Runs `coverslip bundle`; whether it succeeded."""
        arguments = [str(argument) for argument in arguments]
        result = subprocess.run([self.coverslip, "bundle", *arguments], capture_output=True, text=True)
        if show or result.returncode:
            print("".join(f"     {line}\n" for line in (result.stdout + result.stderr).splitlines()), end="")
        if result.returncode:
            self.report.failed = True
            print(f"FAIL {self.coverslip} bundle {' '.join(arguments)}", flush=True)
        return result.returncode == 0

    def outputs(self, bundle, tiles):
        """The bundle's outputs for tiles, computed by the command; nothing if it fails."""
        given, made = self.work / "compare-tiles.safetensors", self.work / "outputs.safetensors"
        tensors.save(given, {"tiles": tiles})
        ran = self.call("run", bundle, "--tiles", given, "--out", made, show=False)
        return tensors.load(made) if ran else None

    def exported(self, bundle, tiles):
        """The same by onnxruntime on the exported graph, which our own checks and ONNX' have passed."""
        path = self.work / f"{bundle.name}.onnx"
        if not self.call("export-onnx", bundle, "--out", path, "--check"):
            return None
        onnx.checker.check_model(str(path), full_check=True)
        print("     onnx.checker has no complaint")
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]
        return dict(zip(names, session.run(None, {"pixels": tiles})))


def manifest_of(bundle):
    return json.loads((bundle / "manifest.json").read_text())


def with_features(embeddings, sae, manifest):
    """A graph's outputs from embeddings: the SAE in NumPy, float64."""
    sae = sae.as_type(np.float64)
    x = embeddings[f"embedding_{manifest['sae']['tap']}"]
    features = sae.encode(x)
    unit = manifest["sae"]["reference"]["mean_square_deviation"]
    return {
        **embeddings,
        "features": features,
        "active_count": (features > 0).sum(1),
        "reconstruction_error": ((x - sae.decode(features)) ** 2).sum(1) / unit,
    }


def check(tool, bundles, tiles, plain, fused, sae):
    """All comparisons. `bundles`: by route; `plain` and `fused`: the original file's embeddings of `tiles`."""
    manifests = {route: manifest_of(bundle) for route, bundle in bundles.items()}
    found = {}
    for manifest in list(manifests.values())[:1]:
        once, again = with_features(plain, sae, manifest), with_features(fused, sae, manifest)
        compare(tool.report, "original file, fused : as it is", manifest, once, again)
    for route, bundle in bundles.items():
        original = with_features(plain, sae, manifests[route])
        found[route] = tool.outputs(bundle, tiles)
        if found[route] is not None:
            compare(tool.report, f"{route} : original file", manifests[route], original, found[route])
        if (exported := tool.exported(bundle, tiles)) is not None:
            compare(tool.report, f"{route}, exported : original file", manifests[route], original, exported)
    ours = [route for route, outputs in found.items() if outputs is not None]
    if len(ours) == 2:
        compare(tool.report, " : ".join(ours), manifests[ours[0]], found[ours[0]], found[ours[1]])
        tool.report.line("mean square deviations", [("relative difference", 1e-5, [deviation(manifests)])])
    if "weights" in bundles:
        exact = Model(bundles["weights"]).run(tiles[:IN_FLOAT64])
        few = {name: value[:IN_FLOAT64] for name, value in with_features(plain, sae, manifests["weights"]).items()}
        compare(tool.report, "original file : weights in float64", manifests["weights"], exact, few)


def deviation(manifests):
    """How far the routes' mean square deviations, computed when they were built, are apart."""
    a, b = (manifest["sae"]["reference"]["mean_square_deviation"] for manifest in manifests.values())
    return abs(a - b) / b
