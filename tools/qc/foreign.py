"""FOREIGN on real faults: pen strokes and a coverslip's edge against their masks, block by block, and clean tiles.

    python tools/qc/foreign.py

Needs numpy, scipy, pillow, tifffile, imagecodecs and ../shared/data (or $COVERSLIP_DATA). A block is outside tissue's
colours where its distance is above 0; in the plugin a profile sets the threshold of a tile by its scanner's tissue.
"""
import numpy as np

import corpus
import formulas

FAULTS = {"green pen": "pen_he/pen_green", "red pen": "pen_he/pen_red", "coverslip edge": "coverslip_ihc/coverslip_edge"}


def distances(rgb):
    """Distance of every block of 8 x 8 px, as in formulas.stain, and the white point's share of it."""
    _, _, white = formulas.exposure(rgb)
    means, area = formulas.blocks(rgb)
    density = -np.log10(np.maximum(means, 1) / 255)
    r, g, b = density.T
    relative = np.maximum(density + np.log10(np.maximum(white, 1) / 255), 0)
    return formulas.outside_tissue(r, g, b, relative, area)


def faults():
    print("| fault | blocks in the mask | sensitivity | precision |\n|---|---|---|---|")
    for name, path in FAULTS.items():
        rgb = np.asarray(corpus.read(corpus.ROOT / f"artefacts/{path}.png"))
        mask = np.asarray(corpus.read(corpus.ROOT / f"artefacts/{path}_mask.png"))
        # Tile by tile, as the plugin looks at them: red ink counts by its share of a tile.
        tiles = [(y, x) for y in range(0, rgb.shape[0], corpus.SIDE) for x in range(0, rgb.shape[1], corpus.SIDE)]
        cut = [tuple(image[y:y + corpus.SIDE, x:x + corpus.SIDE] for image in (rgb, mask)) for y, x in tiles]
        share = np.concatenate([formulas.blocks(part.astype(float))[0].mean(-1) for _, part in cut]) / max(mask.max(), 1)
        found, truth, clean = np.concatenate([distances(part) > 0 for part, _ in cut]), share >= 0.5, share == 0
        # Blocks that the mask touches with less than half count for neither.
        hits, false = (found & truth).sum(), (found & clean).sum()
        print(f"| {name} | {truth.sum()} | {hits / max(truth.sum(), 1):.2f} | {hits / max(hits + false, 1):.2f} |")


def tiles():
    print("\n| tiles | count | score above 0 | median | 99 % | most |\n|---|---|---|---|---|---|")
    scores = {}
    for tile in corpus.tiles():
        _, _, white = formulas.exposure(tile.rgb)
        if formulas.tissue_fraction(tile.rgb, white) >= formulas.BACKGROUND_TISSUE_FRACTION:
            scores.setdefault(tile.source, []).append(formulas.stain(tile.rgb, white)[2])
    for source, values in scores.items():
        values = np.array(values)
        print(f"| {source} | {len(values)} | {(values > 0).mean():.1%} | {np.median(values):+.3f} | "
              f"{np.quantile(values, 0.99):+.3f} | {values.max():+.3f} |")


if __name__ == "__main__":
    faults()
    tiles()
