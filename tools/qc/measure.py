"""Writes tiles and what the float64 oracle says of them, for the plugin's own test to compare with:

    python tools/qc/measure.py target/qc
    COVERSLIP_QC_ORACLE=target/qc cargo test qc_oracle -- --ignored

Needs numpy, scipy, pillow, tifffile, imagecodecs and ../shared/data (or $COVERSLIP_DATA).
"""
import sys
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

import corpus
import formulas


def natives():
    """(name, native tile): four kinds of scanner, so four scales."""
    rng = np.random.default_rng(1)
    wsi = tifffile.imread(corpus.ROOT / "wsi/CMU-1-Small-Region.svs")
    images = [("cmu1", wsi, 0.499)]
    for n in ("10013", "10024", "10029"):
        images.append((f"brecahad-{n}", np.asarray(corpus.read(corpus.ROOT / f"nuclei_brecahad/images/{n}.jpg")), 0.25))
    for n, mpp in (("OS-2-ndpi", 0.2271), ("OS-2-vsi", 0.3457)):
        images.append((n, tifffile.imread(corpus.ROOT / f"scanner_pair/{n}.ome.tif"), mpp))
    for n in corpus.BLANK + corpus.PEN:
        images.append((n.split("/")[-1], np.asarray(corpus.read(corpus.ROOT / f"{n}.png")), 0.5))
    for name, rgb, mpp in images:
        side = round(corpus.SIDE * corpus.MPP / mpp)
        for i in range(8 if name == "cmu1" else 3):
            x, y = rng.integers(0, rgb.shape[1] - side + 1), rng.integers(0, rgb.shape[0] - side + 1)
            yield f"{name}-{i}", np.ascontiguousarray(rgb[y:y + side, x:x + side])


def variants(name, native):
    yield name, native, 0
    yield name + "-dim", corpus.gain(native, 0.4), 0
    yield name + "-bright", corpus.gain(native, 1.3), 0
    yield name + "-blurred", corpus.blur(native, 3), 0
    part = native.copy()
    part[len(part) * 2 // 3:] = 255
    yield name + "-part", part, (len(part) - len(part) * 2 // 3) * part.shape[1]
    yield name + "-odd", np.ascontiguousarray(native[:-3, :-5]), 0


def rows_first(rgb):
    """Pillow's antialiased bicubic with its two passes in the plugin's order: they clip in between."""
    turned = Image.fromarray(np.ascontiguousarray(rgb.transpose(1, 0, 2)))
    return np.ascontiguousarray(
        np.asarray(turned.resize((corpus.SIDE, corpus.SIDE), Image.Resampling.BICUBIC)).transpose(1, 0, 2))


def main():
    out = Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    lines = []
    for name, native in natives():
        for variant, rgb, uncovered in variants(name, native):
            height, width = rgb.shape[:2]
            model = rows_first(rgb)
            over, under, white = formulas.exposure(rgb, uncovered)
            focus = formulas.focus(model)
            numbers = [over, under, *white, formulas.tissue_fraction(rgb, white, uncovered), focus[0],
                       *formulas.banding(rgb)]
            mean, spread, foreign, share = formulas.stain(rgb, white)
            numbers += [*mean, *spread, foreign, share, *focus[1:]]
            (out / f"{variant}.native").write_bytes(rgb.tobytes())
            (out / f"{variant}.model").write_bytes(model.tobytes())
            lines.append("\t".join(map(str, [variant, width, height, uncovered, *numbers])))
    (out / "index.tsv").write_text("\n".join(lines) + "\n")
    print(f"{len(lines)} tiles in {out}")


if __name__ == "__main__":
    main()
