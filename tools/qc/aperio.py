"""Flags in control on the real Aperio slide: its tiles in seven parts, each judged by a profile of the six others.

    python tools/qc/aperio.py --coverslip target/release/coverslip --bundle bundles/demo

The 70 tiles with tissue, in the order of the scan, are cut into seven slides of ten: `profile build --single` fits on
three of six, calibrates on the other three, and `profile challenge` says what it flags on the seventh. Three slides of
calibration carry 1 / 31. It is one slide all the same: how a second one differs cannot be seen. Needs numpy, scipy,
pillow, tifffile, imagecodecs and ../shared/data (or $COVERSLIP_DATA).
"""
import argparse
import json
import subprocess
import tempfile
from collections import Counter
from pathlib import Path

from PIL import Image
from scipy.stats import beta

import corpus
import formulas

PARTS = 7


def interval(k, n):
    """Clopper and Pearson, 95 %."""
    return (beta.ppf(.025, k, n - k + 1) if k else 0, beta.ppf(.975, k + 1, n - k) if k < n else 1)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--coverslip", required=True)
    parser.add_argument("--bundle", required=True)
    options = parser.parse_args()
    tissue = lambda rgb: formulas.tissue_fraction(rgb, formulas.exposure(rgb)[2])
    tiles = [t for t in corpus.tiles(("cmu1",)) if tissue(t.rgb) >= formulas.BACKGROUND_TISSUE_FRACTION]
    checked, raised, levels = Counter(), Counter(), set()
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        slides = [folder / f"part{i}" for i in range(PARTS)]
        for i, slide in enumerate(slides):
            slide.mkdir()
            for j, tile in enumerate(tiles[i * len(tiles) // PARTS:(i + 1) * len(tiles) // PARTS]):
                Image.fromarray(tile.rgb).save(slide / f"{j:03}.png")
        common = ["--bundle", options.bundle, "--mpp", "0.5"]
        for i, slide in enumerate(slides):
            first, *rest = [str(other) for other in slides if other != slide]
            run = lambda *words: subprocess.run([options.coverslip, "profile", *words, *common], check=True,
                                                stdout=subprocess.DEVNULL)
            # CMU-1 has ink along its margins: every part has some, and all are judged here.
            run("build", "--single", "--keep-all", "--force", "--out", str(folder / "profile"), "--scanner", f"aperio={first}", *rest)
            run("challenge", str(slide), "--profile", str(folder / "profile"), "--scanner", "aperio",
                "--fault", "noise", "--out", str(folder / "out"))
            profile = json.loads((folder / "profile/profile.json").read_text())
            levels |= {round(1 / (n + 1), 4) for n in profile["scanners"][0]["calibration"].values()}
            found = json.loads((folder / "out/challenge.json").read_text())
            for flag, share in found["flagged_without_a_fault"].items():
                if share is not None:
                    checked[flag] += found["tiles"]
                    raised[flag] += round(share * found["tiles"])
    print(f"{len(tiles)} tiles, {PARTS} profiles, levels {sorted(levels)}\n")
    print("| flag | raised | share | 95 % |\n|---|---|---|---|")
    for flag, n in checked.items():
        low, high = interval(raised[flag], n)
        print(f"| {flag.upper()} | {raised[flag]} of {n} | {raised[flag] / n:.1%} | {low:.1%}–{high:.1%} |")


if __name__ == "__main__":
    main()
