"""Prints the tables of docs/measured/focus.md: what sharpness says of real and of simulated blur, by source.

    OPENBLAS_NUM_THREADS=1 python tools/qc/focus.py > /tmp/tables.md

Some ten minutes. Needs numpy, scipy, pillow, tifffile, imagecodecs and ../shared/data (or $COVERSLIP_DATA).
"""
import csv
from itertools import product

import numpy as np
from scipy.stats import binomtest

import corpus
import formulas as f
import optics
from evidence import auroc, judge

# What the measure and its threshold were chosen on; the others were looked at afterwards, or beside it.
CHOSEN = ["cmu1", "brecahad", "tcga", "ihc-ndpi", "ihc-vsi", "nuinsseg", "kather", "kather-scaled"]
MOST = 20  # tiles of a source that blur is simulated on; half as many where noise and JPEG follow
SCORES = {"sharpness": f.sharpness, "octaves (1.0)": f.octaves, "Laplacian variance": f.laplacian_variance}
DEFOCUS = (1, 1.5, 2, 3, 5, 10)
LENGTHS, ANGLES = (5, 10, 20, 30), (0, 22.5, 45, 67.5, 90, 112.5, 135, 157.5)


def grey(tile):
    """The green channel thrice: what all scores but Laplacian variance see, and a third of the work."""
    return corpus.Tile(tile.source, tile.name, np.repeat(tile.rgb[..., 1:2], 3, -1))


def seen_through(spread):
    return lambda rgb: np.repeat(optics.through(rgb[..., 1:2], spread), 3, -1)


def evenly(items, most):
    return items if len(items) <= most else [items[round(i)] for i in np.linspace(0, len(items) - 1, most)]


def of_source(tiles, source):
    return [t for t in tiles if t.source == source]


def row(*cells):
    print("| " + " | ".join(map(str, cells)) + " |", flush=True)


def header(*cells):
    print()
    row(*cells)
    print("|---" * len(cells) + "|")


def scored(tiles, change=lambda rgb: rgb):
    """Every score of every tile."""
    changed = [change(t.rgb) for t in tiles]
    return {name: np.array([score(rgb) for rgb in changed]) for name, score in SCORES.items()}


def false_alarms(tiles, sharp):
    header("source", "tiles", "OUT_OF_FOCUS", "by 1.0's rule", "dB: least, median, greatest")
    for source in dict.fromkeys(t.source for t in tiles):
        here = np.array([t.source == source for t in tiles])
        db, old = sharp["sharpness"][here], sharp["octaves (1.0)"][here]
        low, mid, high = np.nanpercentile(db, [0, 50, 100])
        mark = " (chosen on)" if source in CHOSEN else ""
        row(source + mark, here.sum(), (db < f.OUT_OF_FOCUS_BELOW_DB).sum(), (old < -6.9).sum(),
            f"{low:.1f}, {mid:.1f}, {high:.1f}")


def pairs(tiles, sharp):
    """The same field by Aperio and by Hamamatsu, which is softer: seven slides."""
    db = {t.name: v for t, v in zip(tiles, sharp["sharpness"])}
    with open(corpus.ROOT / "scanner_pairs_AH/labels.csv") as table:
        slides = {r["pair"]: r["slide"] for r in csv.DictReader(table)}
    header("slide", "pairs", "Hamamatsu softer", "median difference, dB")
    softer = 0
    for slide in sorted(set(slides.values())):
        difference = np.array([db["A" + p] - db["H" + p] for p, s in slides.items() if s == slide])
        softer += (difference > 0).sum()
        row(slide, len(difference), (difference > 0).sum(), f"{np.median(difference):.1f}")
    interval = binomtest(int(softer), len(slides)).proportion_ci()
    row("all", len(slides), f"{softer} ({softer / len(slides):.0%}; {interval.low:.0%}–{interval.high:.0%})", "")


def labelled(tiles, sharp):
    """TCGA@Focus: one field labelled out of focus, against every sharp tile, without nuinsseg too."""
    source = np.array([t.source for t in tiles])
    blurred = source == "tcga-blurred"
    header("score", "the four tiles", "AUROC against all sharp tiles", "without nuinsseg")
    for name, values in sharp.items():
        row(name, ", ".join(f"{v:.1f}" for v in values[blurred]), f"{auroc(values[~blurred], values[blurred]):.3f}",
            f"{auroc(values[~blurred & (source != 'nuinsseg')], values[blurred]):.3f}")


def tissues(tiles, sharp):
    """AUROC of a kind of tissue as 'blurry' among sharp tiles of its source; 0.5 is none."""
    header("kind", "of", *SCORES)
    kinds = [("fat", of_source(tiles, "fat"), of_source(tiles, "beside-fat"))]
    for source in ("cmu1", "brecahad", "tcga", "monuseg", "consep", "liver-A", "liver-B"):
        here = of_source(tiles, source)
        nuclei = np.array([((t.rgb[..., 0] < 140) & (t.rgb[..., 2] > t.rgb[..., 0])).mean() for t in here])
        few = nuclei <= np.quantile(nuclei, 1 / 3)
        kinds.append(("stroma: the third with fewest nuclei", [t for t, x in zip(here, few) if x],
                      [t for t, x in zip(here, few) if not x]))
    index = {id(t): i for i, t in enumerate(tiles)}
    for kind, some, rest in kinds:
        cells = [auroc(*(values[[index[id(t)] for t in who]] for who in (rest, some))) for values in sharp.values()]
        row(kind, rest[0].source.replace("beside-fat", "fat and beside it"), *(f"{c:.2f}" for c in cells))


def by_source(groups, sharp, changes, after=lambda rgb: rgb):
    """For each score the AUROC of every source's changed tiles against its own sharp ones, the worst of the changes; and
    the share of changed tiles of all sources that the threshold finds, the least of the changes."""
    worst = {name: {} for name in SCORES}
    found = []
    for change in changes:
        hits = []
        for source, tiles in groups.items():
            blurred = scored(tiles, lambda rgb: after(change(rgb)))
            hits += list(blurred["sharpness"] < f.OUT_OF_FOCUS_BELOW_DB)
            for name in SCORES:
                keep = ~np.isnan(sharp[source][name]) & ~np.isnan(blurred[name])
                value = auroc(sharp[source][name][keep], blurred[name][keep])
                worst[name][source] = min(value, worst[name].get(source, 1.0))
        found.append(np.mean(hits))
    return worst, min(found)


def report(what, worst, found):
    cells = []
    for name in SCORES:
        values = sorted((v, s) for s, v in worst[name].items())
        cells.append(f"{values[0][0]:.3f} ({values[0][1]}), {values[len(values) // 2][0]:.3f}")
    row(what, *cells, f"{found:.0%}")


def simulated(groups):
    sharp = {source: scored(tiles) for source, tiles in groups.items()}
    details = []
    header("defocus", *(f"{name}: worst source, median" for name in SCORES), "found by OUT_OF_FOCUS")
    for um in DEFOCUS:
        worst, found = by_source(groups, sharp, [seen_through(optics.defocus(um))])
        report(f"{um} um", worst, found)
        details.append((f"{um} um", worst["sharpness"]))
    header("smear, worst of eight directions", *(f"{name}: worst source, median" for name in SCORES), "found, least")
    for length in LENGTHS:
        changes = [seen_through(optics.smear(length, angle)) for angle in ANGLES]
        worst, found = by_source(groups, sharp, changes)
        report(f"{length} px", worst, found)
        details.append((f"{length} px", worst["sharpness"]))
    header("source", *(what for what, _ in details))
    for source in groups:
        row(source, *(f"{worst[source]:.3f}" for _, worst in details))


def handled(groups):
    """After noise, JPEG and gain."""
    conditions = [("noise 2, JPEG 75", corpus.camera), ("noise 4, JPEG 60", lambda r: corpus.camera(r, 4, 60)),
                  ("gain 1.25", lambda r: corpus.gain(r, 1.25)), ("gain 0.6", lambda r: corpus.gain(r, 0.6))]
    blurs = [("2 um", lambda r: optics.through(r, optics.defocus(2))), ("3 um", lambda r: optics.through(r, optics.defocus(3))),
             ("10 px along 22.5 degrees", lambda r: optics.through(r, optics.smear(10, 22.5)))]
    header("pixels", "false alarms", "without nuinsseg",
           *(f"{what}: AUROC of the worst source, the next, found" for what, _ in blurs))
    for name, change in conditions:
        sharp = {source: scored(tiles, change) for source, tiles in groups.items()}
        alarms = {s: v["sharpness"] < f.OUT_OF_FOCUS_BELOW_DB for s, v in sharp.items()}
        rest = np.concatenate([v for s, v in alarms.items() if s != "nuinsseg"])
        cells = []
        for _, blur in blurs:
            worst, found = by_source(groups, sharp, [blur], change)
            first, second = sorted((v, s) for s, v in worst["sharpness"].items())[:2]
            cells.append(f"{first[0]:.3f} ({first[1]}), {second[0]:.3f} ({second[1]}), {found:.0%}")
        row(name, f"{sum(map(sum, alarms.values()))} of {sum(map(len, alarms.values()))}", f"{rest.sum()} of {len(rest)}", *cells)


def profiles(groups, tiles, sharp):
    """What a profile of one source says of the sharp tiles of another at 1 %: by its p-values alone, and with the limit
    of sharpness beside them. And what both find of the own source's blurred tiles."""
    db = {s: np.array([v for t, v in zip(tiles, sharp["sharpness"]) if t.source == s]) for s in groups}
    limit = {s: np.nanquantile(v, 0.01) for s, v in db.items()}
    shares = {pair: (np.mean(db[pair[1]] < limit[pair[0]]),
                     np.mean((db[pair[1]] < limit[pair[0]]) & (db[pair[1]] < f.OUT_OF_FOCUS_WITH_PROFILE_BELOW_DB)))
              for pair in product(groups, groups) if pair[0] != pair[1]}
    header("sharp tiles flagged by another's profile", "p-value alone", "below -11.8 dB too")
    for what, keep in [("all pairs", lambda p: True), ("without nuinsseg", lambda p: "nuinsseg" not in p)]:
        seen = np.array([v for p, v in shares.items() if keep(p)])
        row(f"{what}, {len(seen)}: mean, worst", *(f"{seen[:, i].mean():.0%}, {seen[:, i].max():.0%}" for i in (0, 1)))
    row("hamamatsu by aperio's", *(f"{v:.0%}" for v in shares["aperio", "hamamatsu"]))
    header("blurred tiles found by their own profile", "p-value alone", "below -11.8 dB too")
    for what, spread in [("2 um", optics.defocus(2)), ("3 um", optics.defocus(3)), ("5 um", optics.defocus(5)),
                         ("5 px along 90 degrees", optics.smear(5, 90)), ("10 px", optics.smear(10, 90))]:
        alone, both = [], []
        for source, some in groups.items():
            values = np.array([f.sharpness(seen_through(spread)(t.rgb)) for t in some])
            alone += list(values < limit[source])
            both += list((values < limit[source]) & (values < f.OUT_OF_FOCUS_WITH_PROFILE_BELOW_DB))
        row(what, f"{np.mean(alone):.0%}", f"{np.mean(both):.0%}")


def main():
    tiles = [t for t in corpus.tiles() + corpus.others() if judge(t.rgb)[3] >= f.BACKGROUND_TISSUE_FRACTION]
    sharp = scored(tiles)
    print("\n## Real\n")
    blurred = np.array([t.source == "tcga-blurred" for t in tiles])
    in_focus = [t for t, b in zip(tiles, blurred) if not b]
    false_alarms(in_focus, {n: v[~blurred] for n, v in sharp.items()})
    pairs(tiles, sharp)
    labelled(tiles, sharp)
    tissues(tiles, sharp)
    print("\n## Simulated\n")
    names = [s for s in dict.fromkeys(t.source for t in in_focus) if s not in ("hamamatsu", "tcga-sharp")]
    groups = {s: evenly(of_source(in_focus, s), MOST) for s in names}
    print(f"\n{sum(map(len, groups.values()))} tiles of {len(groups)} sources")
    simulated({s: [grey(t) for t in some] for s, some in groups.items()})
    handled({s: evenly(some, MOST // 2) for s, some in groups.items()})
    groups["hamamatsu"] = evenly(of_source(in_focus, "hamamatsu"), MOST)
    profiles(groups, tiles, sharp)


if __name__ == "__main__":
    main()
