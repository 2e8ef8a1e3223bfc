"""Compares the outputs of two scans of one slide: everything must be equal but times, paths, and the order in which tiles
were finished.

    python compare.py FOLDER FOLDER             of a picture: to the bit
    python compare.py --drawn FOLDER FOLDER     of the generated slide

Needs pyarrow and pillow. The generated slide is drawn with the C library's sines and exponentials, whose last bit is not the
same on every system: a few of its pixels round the other way. There, the tiles with such a pixel may have other numbers by a
thousandth; no status, flag or alert may differ.
"""

import json
import math
import sys
from pathlib import Path

import pyarrow.parquet
from PIL import Image, ImageChops

# How long it took; where things lie, also by a digest of that; the place of a result in the order in which lanes finished.
TIMES = {"timings", "time_s", "latency_ms", "longest_submit_us"}
PATHS = {"path", "library", "configuration_digest"}
ORDER = {"sequence", "since_sequence", "busy", "taken_late"}
LEFT_OUT = TIMES | PATHS | ORDER
# Of the generated slide: the largest relative difference of a number, and the share of tiles that have one.
CLOSE, FEW = 2e-3, 0.03
OF_THE_MODEL = ("feature_index", "feature_value", "reconstruction_error")
# The overview says how long the scan took, in one line of text.
LINE_PX = 12


def differences(a, b, close: float, place: str = "") -> list[str]:
    """What differs between two values of JSON."""
    if isinstance(a, dict) and isinstance(b, dict):
        keys = sorted((a.keys() | b.keys()) - LEFT_OUT)
        return [line for key in keys for line in differences(a.get(key), b.get(key), close, f"{place}/{key}")]
    if isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        return [line for i, (x, y) in enumerate(zip(a, b)) for line in differences(x, y, close, f"{place}[{i}]")]
    if isinstance(a, float) and isinstance(b, float) and close:
        return [] if math.isclose(a, b, rel_tol=close, abs_tol=close) else [f"{place}: {a!r} and {b!r}"]
    return [] if a == b else [f"{place}: {a!r} and {b!r}"]


def tiles(folder: Path) -> list[dict]:
    """The rows of the table, in the order of the grid."""
    rows = pyarrow.parquet.read_table(folder / "tiles.parquet").to_pylist()
    return sorted(rows, key=lambda row: (row["row"], row["column"], row["pass"]))


def overview(first: Path, second: Path) -> list[str]:
    """What differs but the line with the time."""
    a, b = (Image.open(folder / "overview.png").convert("RGB") for folder in (first, second))
    box = ImageChops.difference(a, b).getbbox() if a.size == b.size else (0, 0, *a.size)
    return [f"overview.png: differs in {box}"] if box and box[3] - box[1] > LINE_PX else []


def main() -> int:
    drawn = "--drawn" in sys.argv
    first, second = (Path(argument) for argument in sys.argv[1:] if argument != "--drawn")
    close = CLOSE if drawn else 0.0
    found = []
    for name in ("slide.json", "qc.geojson"):
        values = [json.loads((folder / name).read_text(encoding="utf-8")) for folder in (first, second)]
        found += [name + line for line in differences(*values, close)]
    rows, others = tiles(first), tiles(second)
    found += [f"tiles.parquet{line}" for line in differences(rows, others, close)]
    # A profile's scores go through the C library's logarithms, and may all differ by CLOSE; what the model gives does not.
    seen = lambda row: {key: row[key] for key in (OF_THE_MODEL if drawn else row)}
    other = sum(bool(differences(seen(a), seen(b), 0.0)) for a, b in zip(rows, others))
    if drawn:
        if other > FEW * len(rows):
            found.append(f"{other} tiles have other numbers, more than {FEW:.0%}")
    else:
        found += overview(first, second)
    print(f"{second}: {len(others)} tiles, {other} with other numbers, {len(found)} differences")
    for line in found[:20]:
        print("  " + line)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
