"""Prints the tables of docs/measured/general-rules.md: what the thresholds do on the real tiles.

    python tools/qc/evidence.py > /tmp/tables.md
"""
from collections import Counter

import numpy as np
from scipy.stats import rankdata

import corpus
import formulas as f


def auroc(high, low):
    ranks = rankdata(np.r_[high, low])
    n = len(high)
    return (ranks[:n].sum() - n * (n + 1) / 2) / (n * len(low))


def judge(rgb):
    over, under, white = f.exposure(rgb)
    return over, under, white, f.tissue_fraction(rgb, white)


def focus_table(tiles):
    conditions = [("as they are", lambda r: r), ("noise 2, JPEG 75", corpus.camera),
                  ("noise 4, JPEG 60", lambda r: corpus.camera(r, 4, 60)), ("gain 1.25", lambda r: corpus.gain(r, 1.25)),
                  ("gain 0.6", lambda r: corpus.gain(r, 0.6))]
    sources = np.array([t.source for t in tiles])
    chosen, other = sources != "consep", sources == "consep"
    print("\n| pixels | tiles | false alarms | worst sharp | " + " | ".join(
        f"s = {s}: AUROC, found" for s in (1, 1.5, 2, 3)) + " | Laplacian variance, AUROC at 1 / 1.5 / 2 / 3 |\n"
        + "|---" * 9 + "|")
    for name, change in conditions:
        score = {s: np.array([(f.sharpness(r), f.laplacian_variance(r)) for r in
                              (change(corpus.blur(t.rgb, s)) for t in tiles)]) for s in (0, 1, 1.5, 2, 3)}
        for who, part in [("chosen on", chosen), ("held out", other)]:
            sharp = score[0][part]
            ok = ~np.isnan(sharp[:, 0])
            row = [name, f"{who}: {ok.sum()}", f"{(sharp[ok, 0] < f.OUT_OF_FOCUS_BELOW_DB).mean():.1%}",
                   f"{sharp[ok, 0].min():.1f} dB"]
            laplace = []
            for s in (1, 1.5, 2, 3):
                blurred = score[s][part]
                seen = ~np.isnan(blurred[:, 0])
                row.append(f"{auroc(sharp[ok, 0], blurred[seen, 0]):.4f}, "
                           f"{(blurred[seen, 0] < f.OUT_OF_FOCUS_BELOW_DB).mean():.0%}")
                laplace.append(f"{auroc(sharp[:, 1], blurred[:, 1]):.3f}")
            print("| " + " | ".join(row + [" / ".join(laplace)]) + " |", flush=True)
        if name == "as they are":
            per_source = [(s, np.nanpercentile(score[0][sources == s, 0], [0, 50, 100]),
                           np.nanmedian(score[1.5][sources == s, 0])) for s in dict.fromkeys(sources)]
    print("\n| source | sharp: min, median, max (dB) | median at s = 1.5 |\n|---|---|---|")
    for s, (low, mid, high), blurred in per_source:
        print(f"| {s} | {low:.1f}, {mid:.1f}, {high:.1f} | {blurred:.1f} |")


def exposure_table(tiles):
    tissue = np.array([judge(t.rgb)[3] for t in tiles])
    kind = np.array(["glass" if t.source == "blank" else "full" if x > 0.9 else "part" if x >= 0.05 else "little"
                     for t, x in zip(tiles, tissue)])
    print("\n", Counter(kind.tolist()))
    print("\n| gain | " + " | ".join(f"{k}: over, under, background" for k in ("full", "part", "little", "glass"))
          + " |\n" + "|---" * 5 + "|")
    for g in (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3, 1.4, 1.6):
        row = [f"{g}"]
        for k in ("full", "part", "little", "glass"):
            seen = [judge(corpus.gain(t.rgb, g)) for t, x in zip(tiles, kind) if x == k]
            row.append(", ".join(f"{np.mean(x):.0%}" for x in (
                [f.is_over(o) for o, _, _, _ in seen], [f.is_under(u, w) for _, u, w, _ in seen],
                [t < f.BACKGROUND_TISSUE_FRACTION for _, _, _, t in seen])))
        print("| " + " | ".join(row) + " |", flush=True)
    print("\nTissue of glass tiles:", [(t.name, round(x, 4)) for t, x in zip(tiles, tissue) if t.source == "blank"])
    print("\nBetween 0.5 % and 15 %:", sorted((round(x, 3), t.source, t.name) for t, x in zip(tiles, tissue)
                                              if t.source != "blank" and 0.005 < x < 0.15))


def main():
    sources = ("cmu1", "brecahad", "tcga", "ihc-ndpi", "ihc-vsi")
    exposure_table(corpus.tiles(sources + ("blank",)))
    tiles = corpus.tiles(sources + ("consep",))
    focus_table([t for t in tiles if judge(t.rgb)[3] >= f.BACKGROUND_TISSUE_FRACTION])


if __name__ == "__main__":
    main()
