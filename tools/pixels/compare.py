"""Compares crates/pixels with NumPy in float64, on every format of coverslip.h. See README.md."""

import argparse
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
from scipy.ndimage import convolve

ROOT = Path(__file__).resolve().parents[2]


def formats():
    """Name and code of every format, as the header has them."""
    text = (ROOT / "include/coverslip/coverslip.h").read_text(encoding="utf-8")
    return {name: int(code, 16) for name, code in re.findall(r"#define COVERSLIP_PFNC_(\w+) (0x[0-9A-Fa-f]+)u", text)}


class Format:
    """What a name says."""

    def __init__(self, name: str, code: int) -> None:
        match = re.fullmatch(r"(MONO|BAYER_(?:RG|GR|GB|BG)|RGBA|BGRA|RGB|BGR)(\d+)(P|_PACKED|_PLANAR)?", name)
        self.name, self.code = name, code
        self.kind, bits, packing = match.groups()
        self.bits, self.packing = int(bits), packing or ""
        self.samples = len(self.kind) if self.kind in ("RGB", "BGR", "RGBA", "BGRA") else 1
        if self.packing == "_PLANAR":
            self.kind, self.samples = "PLANAR", 1

    def pack_row(self, row: np.ndarray) -> bytes:
        """One row of samples, by the standards' drawings."""
        if self.packing == "_PACKED":
            out, low = bytearray(), self.bits - 8
            for first in range(0, len(row), 2):
                a = int(row[first])
                out += bytes([a >> low])
                middle = a & ((1 << low) - 1)
                if first + 1 < len(row):
                    b = int(row[first + 1])
                    out += bytes([middle | (b & ((1 << low) - 1)) << 4, b >> low])
                else:
                    out += bytes([middle])
            return bytes(out)
        if self.packing == "P":
            bits = (row[:, None].astype(np.int64) >> np.arange(self.bits)) & 1
            return np.packbits(bits.ravel().astype(np.uint8), bitorder="little").tobytes()
        return row.astype("<u1" if self.bits == 8 else "<u2").tobytes()


KERNELS = {
    "green": np.array([[0, 0, -1, 0, 0], [0, 0, 2, 0, 0], [-1, 2, 4, 2, -1], [0, 0, 2, 0, 0], [0, 0, -1, 0, 0]]) / 8,
    "along": np.array([[0, 0, 0.5, 0, 0], [0, -1, 0, -1, 0], [-1, 4, 5, 4, -1], [0, -1, 0, -1, 0], [0, 0, 0.5, 0, 0]]) / 8,
    "other": np.array([[0, 0, -1.5, 0, 0], [0, 2, 0, 2, 0], [-1.5, 0, 6, 0, -1.5], [0, 2, 0, 2, 0], [0, 0, -1.5, 0, 0]]) / 8,
}
PHASES = {"RG": [0, 1, 1, 2], "GR": [1, 0, 2, 1], "GB": [1, 2, 0, 1], "BG": [2, 1, 1, 0]}


def demosaic(levels: np.ndarray, phase: str) -> np.ndarray:
    """Malvar, He and Cutler in float64; edges mirrored without repeating them."""
    cell = PHASES[phase]
    rows, columns = np.indices(levels.shape)
    own = np.take(cell, rows % 2 * 2 + columns % 2)
    in_row = np.where(rows % 2 == 0, cell[0] + cell[1] - 1, cell[2] + cell[3] - 1)
    values = levels.astype(np.float64)
    filtered = {name: convolve(values, kernel, mode="mirror") for name, kernel in KERNELS.items()}
    across = convolve(values, KERNELS["along"].T, mode="mirror")
    out = np.empty((*levels.shape, 3))
    for colour in range(3):
        missing = np.where(own == 1, np.where(in_row == colour, filtered["along"], across), filtered["other"])
        missing = filtered["green"] if colour == 1 else missing
        out[..., colour] = np.where(own == colour, values, missing)
    return out


def channels(levels: np.ndarray, highest: int, tone: dict) -> np.ndarray:
    """The formula of coverslip_slide_desc, before it is rounded to channels."""
    white = tone["white"] or highest
    v = np.clip((levels - tone["black"]) / (white - tone["black"]), 0, 1)
    if tone["colour"]:
        v = np.clip((v * tone["balance"]) @ np.reshape(tone["matrix"], (3, 3)).T, 0, 1)
    return tone["curve"](v)


def tones(rng, highest: int, colour: bool):
    """No tone, and one of everything."""
    plain = dict(black=0.0, white=0.0, gamma=0.0, balance=np.ones(3), matrix=np.eye(3).ravel(), table=b"", colour=colour)
    plain["curve"] = lambda v: 255 * v
    yield plain
    gamma = rng.uniform(0.4, 2.5)
    matrix = (np.eye(3) + rng.uniform(-0.2, 0.2, (3, 3))).ravel()
    toned = dict(black=0.02 * highest, white=0.9 * highest, gamma=gamma, balance=rng.uniform(0.8, 1.6, 3), matrix=matrix)
    toned |= dict(table=b"", colour=colour, curve=lambda v: 255 * v ** (1 / gamma))
    yield toned
    table = np.sort(rng.integers(0, 256, 1000)).astype(np.uint8)
    # A table's steps are its own: what lies on the edge between two entries may take either.
    yield dict(plain, table=table.tobytes(), curve=lambda v: table[np.floor(v * 999 + 0.5).astype(int)].astype(float))


class Developer:
    def __init__(self, program: str) -> None:
        self.process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def develop(self, header: list, payload: bytes, pixels: int) -> np.ndarray:
        line = " ".join(repr(float(number)) if isinstance(number, float) else str(number) for number in header)
        self.process.stdin.write(line.encode() + b"\n" + payload)
        self.process.stdin.flush()
        found = self.process.stdout.read(3 * pixels)
        assert len(found) == 3 * pixels, "the program has ended"
        return np.frombuffer(found, np.uint8).reshape(-1, 3)


def compare(developer: Developer, form: Format, rng) -> float:
    """Worst distance from the float64 channel, in channels; 0.5 is what rounding takes."""
    worst = 0.0
    mosaic = form.kind.startswith("BAYER")
    highest = (1 << form.bits) - 1
    for tone in tones(rng, highest, form.kind != "MONO"):
        width, height = (int(n) for n in rng.integers(1, 40, 2))
        if mosaic:
            width, height = 2 * width, 2 * height
        count = 3 if form.kind == "PLANAR" else form.samples
        flat = rng.integers(0, highest + 1, (height, width, count))
        soft = np.clip(highest / 2 + np.cumsum(rng.integers(-9, 10, flat.shape), axis=1) * highest / 300, 0, highest)
        levels = np.where(rng.random(flat.shape) < 0.2, flat, soft.astype(int))
        planes = [levels[..., c : c + 1] for c in range(3)] if form.kind == "PLANAR" else [levels]
        row = len(form.pack_row(planes[0][0].ravel()))
        stride, size = row + int(rng.integers(0, 20)), 0
        payload = b""
        for plane in planes:
            lines = [form.pack_row(line.ravel()) for line in plane]
            filler = [rng.bytes(stride - row) for _ in lines[:-1]] + [b""]
            packed = b"".join(line + rest for line, rest in zip(lines, filler))
            size, payload = len(packed), payload + packed
        header = [form.code, width, height, stride, size, tone["black"], tone["white"], tone["gamma"]]
        header += [float(value) for value in [*tone["balance"], *tone["matrix"]]] + [len(tone["table"])]
        found = developer.develop(header, tone["table"] + payload, width * height).reshape(height, width, 3)
        if mosaic:
            exact = demosaic(levels[..., 0], form.kind[-2:])
            inside(exact, levels[..., 0], form.kind[-2:])
            colours = np.clip(np.floor(exact + 0.5), 0, highest)
        else:
            order = {"BGR": [2, 1, 0], "BGRA": [2, 1, 0], "MONO": [0, 0, 0]}.get(form.kind, [0, 1, 2])
            colours = levels[..., order].astype(float)
        wanted = channels(colours, highest, tone)
        distance = np.abs(found - wanted).max() if not tone["table"] else 0.5 * np.mean(found != wanted)
        worst = max(worst, float(distance))
    return worst


def inside(ours: np.ndarray, levels: np.ndarray, phase: str) -> None:
    """The reference of this script against colour-demosaicing, away from the edges."""
    from colour_demosaicing import demosaicing_CFA_Bayer_Malvar2004

    pattern = {"RG": "RGGB", "GR": "GRBG", "GB": "GBRG", "BG": "BGGR"}[phase]
    theirs = demosaicing_CFA_Bayer_Malvar2004(levels.astype(np.float64), pattern)
    assert np.allclose(theirs[2:-2, 2:-2], ours[2:-2, 2:-2], atol=1e-6), "the oracles differ"


def edges(rng) -> tuple[float, float]:
    """Mean error at the edges of a drawn picture, of these filters and of bilinear ones, in channels."""
    from colour_demosaicing import demosaicing_CFA_Bayer_bilinear

    y, x = np.indices((256, 256))
    shade = np.where((x * 0.8 + y * 0.6) % 24 < 12, 1.0, 0.45)
    truth = shade[..., None] * np.array([200.0, 140.0, 180.0]) + rng.normal(0, 1, (256, 256, 1))
    cell = np.array(PHASES["RG"]).reshape(2, 2)
    levels = np.take_along_axis(truth, cell[y % 2, x % 2][..., None], 2)[..., 0]
    errors = []
    for picture in (demosaic(levels, "RG"), demosaicing_CFA_Bayer_bilinear(levels, "RGGB")):
        errors.append(float(np.abs(picture - truth)[4:-4, 4:-4].mean()))
    return errors[0], errors[1]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program", help="target/release/examples/develop")
    parser.add_argument("--rounds", type=int, default=6)
    arguments = parser.parse_args()
    developer, rng = Developer(arguments.program), np.random.default_rng(16)
    failed = 0
    for name, code in formats().items():
        form = Format(name, code)
        worst = max(compare(developer, form, rng) for _ in range(arguments.rounds))
        # Half a channel of rounding, and float32's own 1e-4 where a matrix is applied.
        if worst > 0.5 + 1e-3:
            print(f"{name}: {worst:.4f} channels from float64")
            failed += 1
    ours, bilinear = edges(rng)
    print(f"{len(formats())} formats, {failed} differ; mean error on edges {ours:.2f} channels, bilinear {bilinear:.2f}")
    return 1 if failed or ours >= bilinear else 0


if __name__ == "__main__":
    sys.exit(main())
