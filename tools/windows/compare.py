"""Compares the outputs of two scans of one slide: everything must be equal but times, paths, and the order in which tiles
were finished.

    python compare.py FOLDER FOLDER      needs pyarrow
"""

import json
import sys
from pathlib import Path

import pyarrow.parquet

# How long it took; where things lie; the place of a result in the order in which lanes finished.
TIMES = {"timings", "time_s", "latency_ms", "longest_submit_us"}
PATHS = {"path", "library"}
ORDER = {"sequence", "since_sequence", "busy", "taken_late"}
LEFT_OUT = TIMES | PATHS | ORDER


def differences(a, b, place: str = "") -> list[str]:
    """What differs between two values of JSON."""
    if isinstance(a, dict) and isinstance(b, dict):
        keys = sorted((a.keys() | b.keys()) - LEFT_OUT)
        return [line for key in keys for line in differences(a.get(key), b.get(key), f"{place}/{key}")]
    if isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        return [line for i, (x, y) in enumerate(zip(a, b)) for line in differences(x, y, f"{place}[{i}]")]
    return [] if a == b else [f"{place}: {a!r} and {b!r}"]


def tiles(folder: Path) -> list[dict]:
    """The rows of the table, in the order of the grid."""
    rows = pyarrow.parquet.read_table(folder / "tiles.parquet").to_pylist()
    return sorted(rows, key=lambda row: (row["row"], row["column"], row["pass"]))


def main() -> int:
    first, second = (Path(argument) for argument in sys.argv[1:3])
    slides = [json.loads((folder / "slide.json").read_text(encoding="utf-8")) for folder in (first, second)]
    found = [f"slide.json{line}" for line in differences(*slides)]
    found += [f"tiles.parquet{line}" for line in differences(tiles(first), tiles(second))]
    for name in ("qc.geojson", "overview.png"):
        if (first / name).read_bytes() != (second / name).read_bytes():
            found.append(f"{name}: other bytes")
    print(f"{second}: {len(tiles(second))} tiles, {len(found)} differences")
    for line in found[:20]:
        print("  " + line)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
