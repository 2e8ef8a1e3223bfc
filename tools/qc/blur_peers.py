"""Prints how well blur is told by our sharpness, by Laplacian variance and by HistoQC's rule, on the same real tiles.

python tools/qc/blur_peers.py

HistoQC (choosehappy/HistoQC, BlurDetectionModule): the absolute Laplacian of the grey image is smoothed with a Gaussian of
7 px; where that is at most 0.1 the slide is blurry. Its example configuration works at 2.5x (4 um/px); both that and the
tile's own 0.5 um/px are shown. As a score we take the mean over tissue (lower is blurrier), as its decision that more than
half of the tissue is marked. Needs numpy, scipy, pillow and tifffile.
"""
import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter, laplace
from scipy.stats import rankdata

import corpus
import formulas as f

SEVERITIES = (0.25, 0.5, 0.75, 1, 1.5, 2, 3, 4)


def auroc(high, low):
    ranks = rankdata(np.r_[high, low])
    return (ranks[:len(high)].sum() - len(high) * (len(high) + 1) / 2) / (len(high) * len(low))


def histoqc(rgb, um):
    """(mean of the smoothed |Laplacian| over tissue, share of tissue at most 0.1)."""
    if um != corpus.MPP:
        side = round(rgb.shape[0] * corpus.MPP / um)
        rgb = np.asarray(Image.fromarray(rgb).resize((side, side), Image.Resampling.BICUBIC))
    grey = rgb.astype(float) @ [0.2125, 0.7154, 0.0721] / 255
    detail = gaussian_filter(np.abs(laplace(grey, mode="nearest")), 7, mode="nearest")
    tissue = grey < 0.9
    return (np.nan, np.nan) if not tissue.any() else (detail[tissue].mean(), (detail[tissue] <= 0.1).mean())


def scores(rgb):
    native, coarse = histoqc(rgb, 0.5), histoqc(rgb, 4.0)
    return f.sharpness(rgb), f.laplacian_variance(rgb), native[0], coarse[0], native[1], coarse[1]


def main():
    tiles = [t for t in corpus.tiles(("cmu1", "brecahad", "tcga")) if not np.isnan(f.sharpness(t.rgb))
             and f.tissue_fraction(t.rgb, f.exposure(t.rgb)[2]) >= 0.05]
    # Stroma: the third of the tiles with the least dark, blue matter (nuclei).
    nuclei = np.array([((t.rgb[..., 0] < 130) & (t.rgb[..., 2] > t.rgb[..., 0])).mean() for t in tiles])
    stroma = nuclei <= np.quantile(nuclei, 1 / 3)
    sharp = np.array([scores(t.rgb) for t in tiles])
    print(f"{len(tiles)} sharp H&E tiles at 0.5 um/px, {stroma.sum()} of them low in nuclei\n")
    print("| blur, px | AUROC sharpness | Laplacian variance | HistoQC at 0.5 um/px | HistoQC at 4 um/px | found by "
          "the general rule | marked by HistoQC (0.5, 4 um/px) |\n" + "|---" * 7 + "|")
    found = lambda s: f"{(s[:, 0] < f.OUT_OF_FOCUS_BELOW_DB).mean():.0%}"
    marked = lambda s: f"{(s[:, 4] > 0.5).mean():.0%}, {(s[:, 5] > 0.5).mean():.0%}"
    print(f"| 0 | | | | | {found(sharp)} | {marked(sharp)} |")
    for severity in SEVERITIES:
        blurred = np.array([scores(corpus.blur(t.rgb, severity)) for t in tiles])
        areas = " | ".join(f"{auroc(sharp[:, i], blurred[:, i]):.3f}" for i in range(4))
        print(f"| {severity} | {areas} | {found(blurred)} | {marked(blurred)} |")
    # Stroma must not be called blurry: a threshold at the 1 % quantile of all sharp tiles, asked on stroma alone.
    print("\n| | sharpness | Laplacian variance | HistoQC 0.5 | HistoQC 4 |\n" + "|---" * 5 + "|")
    for level in (0.01, 0.05):
        rest = [np.quantile(sharp[:, i], level) for i in range(4)]
        row = " | ".join(f"{(sharp[stroma, i] < rest[i]).mean():.1%}" for i in range(4))
        print(f"| sharp stroma called blurry at {level:.0%} of all sharp tiles | {row} |")
    row = " | ".join(f"{auroc(sharp[~stroma, i], sharp[stroma, i]):.2f}" for i in range(4))
    print(f"| AUROC of stroma as 'blurry' among sharp tiles (0.5: none) | {row} |")
    by_scanner(tiles, sharp[:, 0], nuclei)


def by_scanner(tiles, sharpness, nuclei):
    """What a profile does: each tile's conformal p-value among the tiles of the same scanner's other images (other tiles,
    where a scanner has one image only). Stroma: the third of the scanner's tiles with the fewest nuclei."""
    source = np.array([t.source for t in tiles])
    image = np.array([t.name.split("@")[0] for t in tiles])
    print("\n| scanner | images, tiles | level | all tiles called blurry | stroma |\n" + "|---" * 5 + "|")
    total, in_stroma = [], []
    for scanner in dict.fromkeys(source):
        own = np.flatnonzero(source == scanner)
        images = len(set(image[own]))
        p = []
        for i in own:
            rest = own[image[own] != image[i]] if images > 1 else own[own != i]
            p.append((1 + (sharpness[rest] <= sharpness[i]).sum()) / (len(rest) + 1))
        p, stroma = np.array(p), nuclei[own] <= np.quantile(nuclei[own], 1 / 3)
        print(f"| {scanner} | {images}, {len(own)} | 5% | {(p <= .05).sum()} of {len(own)} | "
              f"{(p[stroma] <= .05).sum()} of {stroma.sum()} |")
        total += list(p <= .05)
        in_stroma += list(p[stroma] <= .05)
    print(f"| together | | 5% | {np.mean(total):.1%} | {np.mean(in_stroma):.1%} |")


if __name__ == "__main__":
    main()
