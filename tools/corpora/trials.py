"""What a user would do with a file of each kind, under limits, and how it ended."""

import json
import shutil
import signal
import struct
import subprocess
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

# An address space of 1 GiB and 10 seconds of a processor for each command; one that takes a minute hangs.
ROOM_KIB, SECONDS, HANGS = 1 << 20, 10, 60
# A message longer than this is no sentence any more.
LONGEST = 1100
VALUE, ERROR, FAILURE = "value", "error", "failure"
THREADS = {"RTEN_NUM_THREADS": "2", "RAYON_NUM_THREADS": "2", "MALLOC_ARENA_MAX": "2"}


@dataclass(frozen=True)
class Outcome:
    """How a command ended: a value, an error or a failure, and what it said."""

    what: str
    said: str


def limited(arguments, seconds):
    """The command's words, with limits for its process."""
    return ["sh", "-c", f'ulimit -v {ROOM_KIB}; ulimit -t {seconds}; exec "$@"', "sh", *map(str, arguments)]


def run(arguments, environment):
    """Runs a command of Coverslip and judges its end."""
    began = time.monotonic()
    try:
        ended = subprocess.run(limited(arguments, SECONDS), capture_output=True, timeout=HANGS, env=environment)
    except subprocess.TimeoutExpired:
        return Outcome(FAILURE, f"hangs: it takes more than {HANGS} s")
    said = ended.stderr.decode("utf-8", "replace")
    if ended.returncode in (-signal.SIGXCPU, -signal.SIGKILL):
        return Outcome(FAILURE, f"takes more than {SECONDS} s of a processor")
    if ended.returncode == 0:
        return Outcome(VALUE, f"{time.monotonic() - began:.1f} s")
    if ended.returncode != 1:
        return Outcome(FAILURE, f"exit code {ended.returncode}: {said}")
    lines = said.removesuffix("\n").split("\n")
    # Progress lines may come before what was wrong.
    one = len(lines) == 1 and lines[0].startswith("coverslip: ") and "\r" not in said
    if not one or "panicked" in said or len(said) > LONGEST:
        return Outcome(FAILURE, f"not one sentence: {said}")
    return Outcome(ERROR, lines[0].removeprefix("coverslip: "))


class Bench:
    """The good files around a stranger's one, and the folder in which both are given to the command."""

    def __init__(self, folder, command, bundle, profile, environment):
        self.folder, self.command, self.bundle, self.profile = folder, command, bundle, profile
        self.environment = environment | THREADS
        # The bundle's model again, with what its weights do not show.
        self.model = ["--weights", bundle / "model.safetensors", "--heads", 6, "--mpp", 0.5, "--pooling", "class-token"]
        self.base = folder / "base"
        self.base.mkdir(parents=True, exist_ok=True)
        draw = np.random.default_rng(1)
        save_file({"tiles": draw.integers(0, 255, (4, 32, 32, 3), np.uint8)}, self.base / "tiles.safetensors")
        save_file(
            {
                "embedding_last": draw.normal(size=(12, 4)).astype(np.float32),
                "feature_index": draw.integers(0, 8, (12, 2)).astype(np.int32),
                "feature_value": draw.random((12, 2)).astype(np.float32),
            },
            self.base / "e.safetensors",
        )
        rows = "".join(f"s{tile // 2},t{tile}.png,0.5\n" for tile in range(12))
        (self.base / "e.csv").write_text(f"slide,tile,mpp\n{rows}")
        rows = "".join(f"t{tile},{tile * tile % 5},{tile % 3}\n" for tile in range(12))
        (self.base / "labels.csv").write_text(f"tile,lymphocytes,stroma\n{rows}")
        (self.base / "model.json").write_text(json.dumps({"mpp": 0.5, "mean": [0.5] * 3, "std": [0.5] * 3, "img_size": 32}))

    def trials(self, kind, path, place):
        """The commands for a file, each with its name; `place` is an empty folder."""
        return getattr(self, kind)(path, place)

    def outcomes(self, kind, path, number):
        """What came of a file: an outcome for each command."""
        place = self.folder / f"place{number}"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        found = [(name, run([self.command, *words], self.environment)) for name, words in self.trials(kind, path, place)]
        shutil.rmtree(place)
        return found

    def beside(self, path, place, name):
        target = place / name
        shutil.copyfile(path, target)
        return target

    def with_one(self, folder, path, place, name):
        """A copy of a folder with a stranger's file in place of its own."""
        for file in folder.iterdir():
            (place / file.name).hardlink_to(file.resolve()) if file.name != name else None
        shutil.copyfile(path, place / name)
        return place

    def build(self, place, *words):
        return ["bundle", "build", "--tiles", self.base / "tiles.safetensors", "--out", place / "bundle.out", *words]

    def counts(self, place, embeddings, labels):
        words = ["--tap", "last", "--least-groups", 1, "--permutations", 19, "--resamples", 100, "--baseline-steps", 0]
        return ["analyze", "counts", "--embeddings", embeddings, "--labels", labels, *words, "--out", place / "out"]

    def picture(self, path, place):
        file = self.beside(path, place, path.name)
        yield "scan", ["scan", file, "--mpp", 0.5, "--stretch", "--reader", "own", "--bundle", self.bundle, "--out", place / "out"]
        words = ["--mpp", 0.5, "--field", "tile", "--reader", "own", "--bundle", self.bundle]
        yield "embed", ["embed", file, *words, "--out", place / "e.parquet"]

    def dicom(self, path, place):
        """Read by OpenSlide, in the command's own process."""
        file = self.beside(path, place, "slide.dcm")
        yield "scan", ["scan", file, "--mpp", 0.5, "--stretch", "--bundle", self.bundle, "--out", place / "out"]

    def csv(self, path, place):
        yield "counts of cells", self.counts(place, self.base / "e.safetensors", self.beside(path, place, "labels.csv"))
        shutil.copyfile(self.base / "e.safetensors", place / "e.safetensors")
        self.beside(path, place, "e.csv")
        yield "table of tiles", self.counts(place, place / "e.safetensors", self.base / "labels.csv")

    def json(self, path, place):
        for name in ("bundle", "profile", "labelled"):
            (place / name).mkdir()
        yield "manifest", ["bundle", "inspect", self.with_one(self.bundle, path, place / "bundle", "manifest.json")]
        yield "profile", ["profile", "inspect", self.with_one(self.profile, path, place / "profile", "profile.json")]
        labels = self.beside(path, place, "labels.json")
        yield "labels", ["bundle", "label", self.bundle, "--labels", labels, "--out", place / "labelled", "--force"]
        yield "config.json", self.build(place, *self.model, "--config", labels)
        yield "model.json", self.build(place, *self.model, "--model", labels)
        (place / "sae").mkdir()
        shutil.copyfile(path, place / "sae" / "cfg.json")
        shutil.copyfile(self.bundle / "sae.safetensors", place / "sae" / "sae_weights.safetensors")
        yield "cfg.json of an SAE", self.build(place, *self.model, "--sae", place / "sae")
        (place / "found").mkdir()
        shutil.copyfile(path, place / "found" / "counts.json")
        yield "report", ["report", place / "found", "--out", place / "report.html"]

    def checkpoint(self, path, place):
        for end in (".pt", ".bin"):
            yield f"weights {end}", self.build(place, "--weights", self.beside(path, place, f"weights{end}"))
        (place / "sae").mkdir()
        shutil.copyfile(path, place / "sae" / "ae.pt")
        yield "SAE", self.build(place, *self.model, "--sae", place / "sae")

    archive = checkpoint

    def pickle(self, path, place):
        yield from self.checkpoint(path, place)
        with zipfile.ZipFile(place / "wrapped.pt", "w") as whole:
            whole.write(path, "archive/data.pkl")
            whole.writestr("archive/data/0", bytes(64))
        yield "data.pkl of an archive", self.build(place, "--weights", place / "wrapped.pt")

    def safetensors(self, path, place):
        yield "weights", self.build(place, "--weights", self.beside(path, place, "weights.safetensors"))
        yield "tiles", ["bundle", "run", self.bundle, "--tiles", place / "weights.safetensors", "--out", place / "o.safetensors"]

    def parquet(self, path, place):
        file = self.beside(path, place, "e.parquet")
        yield "train", ["sae", "train", "--embeddings", file, "--steps", 1, "--out", place / "sae"]
        yield "features", ["analyze", "features", "--embeddings", file, "--out", place / "out"]

    def onnx(self, path, place):
        file = self.beside(path, place, "model.onnx")
        yield "inspect", ["bundle", "inspect", file]
        yield "weights", self.build(place, "--weights", file, "--model", self.base / "model.json")

    def xml(self, path, place):
        """The text as the description of an OME-TIFF."""
        (place / "slide.tif").write_bytes(described(path.read_bytes()))
        yield "description", ["scan", place / "slide.tif", "--reader", "own", "--bundle", self.bundle, "--out", place / "out"]


def described(text):
    """A TIFF of 8 x 8 grey-pink pixels with this description, which a comment makes one of OME."""
    text += b"<!--<OME-->\0"
    pixels = bytes([200, 150, 180] * 64)
    start = 8 + 2 + 10 * 12 + 4
    bits, description = start, start + 8
    strip = description + len(text) + len(text) % 2
    tags = [
        (256, 4, 1, 8), (257, 4, 1, 8), (258, 3, 3, bits), (259, 3, 1, 1), (262, 3, 1, 2),
        (270, 2, len(text), description), (273, 4, 1, strip), (277, 3, 1, 3), (278, 4, 1, 8), (279, 4, 1, len(pixels)),
    ]
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    head = struct.pack("<2sHIH", b"II", 42, 8, len(tags)) + entries + bytes(4)
    return head + struct.pack("<4H", 8, 8, 8, 0) + text + bytes(len(text) % 2) + pixels
