"""False alarms of profiles on real slides that they have not seen, and what they say of sources that they were not shown:
the tables of docs/measured/flags-and-alerts.md.

    python tools/qc/left_out.py --coverslip target/release/coverslip --bundle bundles/demo --work /tmp/left-out

Every source is a scanner of one profile. Its slides are dealt into eight parts; eight profiles are built, each without one
part of every source, and judge that part slide by slide. NuInsSeg is refused for the slides of it that are soft or dark, and
has profiles of its own, made with --keep-all. Then profiles of a pool of sources judge those that were left out
of the pool as a whole. Some twenty minutes of one core; what was played once is kept in --work. Needs numpy, scipy, pillow,
tifffile, imagecodecs, pyarrow and ../shared/data (or $COVERSLIP_DATA).
"""
import argparse
import csv
import json
import subprocess
from collections import defaultdict
from pathlib import Path

import numpy as np
import pyarrow.parquet as parquet
from PIL import Image

import corpus

PARTS = 8
MOST = 24  # tiles of a slide, but for the sections, which are few
FLAGS = ["out_of_focus", "underexposed", "color_shift", "foreign", "novel", "features_unreliable"]
SOFT = "NuInsSeg"
BLUE = "brain, blue stain"
# Of BreCaHAD, as in tools/cell-counts/prepare.py: 10016 is 10015 again, and two pairs overlap.
TWICE = {"10016"}
SAME_FIELD = {"10023": "10022", "10024": "10021"}
FLUORESCENCE = "fluorescence"


def evenly(items, most):
    return items if len(items) <= most else [items[round(i)] for i in np.linspace(0, len(items) - 1, most)]


def table(folder):
    with (corpus.ROOT / folder / "labels.csv").open() as file:
        return list(csv.DictReader(file))


def image(path, mpp=corpus.MPP):
    return corpus.at_model_scale(corpus.read(corpus.ROOT / path), mpp)


def cut(rgb):
    return [t.rgb for t in corpus.cut("", "", rgb)] if min(rgb.shape[:2]) >= 2 * corpus.SIDE else [
        corpus.centre("", "", rgb).rgb]


def slides():
    """Tiles by source and slide. Smaller than a tile at the model's scale, and so shown as they are: A/H pairs, CoNSeP,
    PANDA, sections; without a stated scale too: bone, lymph node, polyps."""
    found = defaultdict(lambda: defaultdict(list))
    add = lambda source, slide, rgb: found[source][slide].extend(cut(rgb))
    for r in table("nuinsseg"):
        add("NuInsSeg", f"run {(int(r['index']) - 1) // 20:02}", image(f"nuinsseg/{r['file']}", 0.25))
    for f in sorted((corpus.ROOT / "nuclei_brecahad/images").glob("*.jpg")):
        if f.stem not in TWICE:
            add("BreCaHAD", SAME_FIELD.get(f.stem, f.stem), image(f, 0.25))
    for r in table("liver_steatosis"):
        add(f"liver, centre {r['centre']}", r["slide"], image(f"liver_steatosis/{r['file']}"))
    for r in table("osteosarcoma"):
        add("bone tumour", r["block"], image(f"osteosarcoma/{r['file']}"))
    for r in table("adipose_gtex"):
        if r["file"].startswith("tiles1024") and r["label"] != "empty":
            add("GTEx fat and beside it", r["donor"], image(f"adipose_gtex/{r['file']}"))
    for r in table("serial_sections_colon"):
        add("sections of colon", r["section"], image(f"serial_sections_colon/{r['file']}"))
    for r in table("scanner_pairs_AH"):
        add("pairs, " + r["scanner"].split()[0], r["slide"], image(f"scanner_pairs_AH/{r['file']}"))
    for r in table("camelyon16_tiles"):
        add("lymph node, Camelyon", r["file"], image(f"camelyon16_tiles/{r['file']}"))
    for r in table("panda_tiles"):
        add("prostate, PANDA", r["slide"], image(f"panda_tiles/{r['file']}"))
    for f in sorted((corpus.ROOT / "kather2016").glob("image*.png")):
        add("colon, Kather", "unnamed", image(f))
    for f in sorted((corpus.ROOT / "crc_polyp_classes").glob("*/*.jpg"))[::10]:
        add("colon polyps", "unnamed", image(f))
    for f in sorted((corpus.ROOT / "nuclei_consep").glob("*.jpg")):
        add("CoNSeP", f.stem, image(f))
    for tile in corpus.tiles(("cmu1", "tcga")):
        found["CMU-1" if tile.source == "cmu1" else "TCGA"][tile.name.split("@")[0]].append(tile.rgb)
    for r in table("ood_not_he"):
        source = next((name for word, name in (("brain", BLUE), ("fluorescence", FLUORESCENCE)) if word in r["kind"]), None)
        if source:
            add(source, "all", image(f"ood_not_he/{r['file']}"))
    most = lambda of: MOST if len(of) > 3 else 64
    return {source: {s: evenly(t, most(of)) for s, t in of.items()} for source, of in found.items()}


class Bench:
    def __init__(self, given):
        self.given = given

    def run(self, *words):
        done = subprocess.run([self.given.coverslip, *map(str, words)], capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(done.stderr)

    def slide(self, source, name, tiles):
        """A folder of tiles, each of which is one tile of the model."""
        folder = self.given.work / "slides" / source.replace(",", "").replace(" ", "-") / name.replace("/", "-")
        if not folder.exists():
            folder.mkdir(parents=True)
            for i, rgb in enumerate(tiles):
                Image.fromarray(rgb).save(folder / f"{i:03}.png")
        return folder

    def profile(self, name, scanners, *more):
        out = self.given.work / "profiles" / name
        if not (out / "profile.json").exists():
            words = [w for s, (first, *rest) in scanners.items() for w in ("--scanner", f"{s}={first}", *rest)]
            self.run("profile", "build", "--bundle", self.given.bundle, "--mpp", corpus.MPP, "--skip-unstable",
                     "--out", out, *more, *words)
        return out

    def judged(self, slide, profile=None, scanner=None, stain="he"):
        """What a scan says: slide.json, and the analysed tiles."""
        key = f"{profile.name} {scanner}" if profile else f"no profile, {stain}"
        out = self.given.work / "judged" / key / slide.parent.name / slide.name
        if not (out / "slide.json").exists():
            out.mkdir(parents=True, exist_ok=True)
            words = ("--profile", profile, "--scanner", scanner) if profile else ()
            self.run("scan", slide, "--bundle", self.given.bundle, "--mpp", corpus.MPP, "--stain", stain, "--out", out, *words)
        tiles = parquet.read_table(out / "tiles.parquet").to_pandas()
        return json.loads((out / "slide.json").read_text()), tiles[tiles.status == "done"]


def by_slides(shares, draws=2000):
    """Mean over slides, and its 95 % interval: slides drawn with replacement."""
    shares = np.array(shares)
    means = shares[np.random.default_rng(17).integers(0, len(shares), (draws, len(shares)))].mean(1)
    low, high = np.percentile(means, [2.5, 97.5])
    return f"{shares.mean():.1%} ({low:.1%}–{high:.1%})"


def left_out(bench, found, sources):
    folders = {s: {n: bench.slide(s, n, t) for n, t in found[s].items()} for s in sources}
    rates = {s: defaultdict(list) for s in sources}
    for part in range(PARTS):
        held = {s: list(f.items())[part::PARTS] for s, f in folders.items()}
        kept = {s: [p for n, p in f.items() if n not in dict(held[s])] for s, f in folders.items()}
        soft = {SOFT: kept.pop(SOFT), "liver, centre A": kept["liver, centre A"]}
        good = bench.profile(f"without-part-{part}", kept)
        of_soft = bench.profile(f"soft-without-part-{part}", soft, "--keep-all")
        for s in sources:
            profile = of_soft if s == SOFT else good
            for name, folder in held[s]:
                _, tiles = bench.judged(folder, profile, s)
                for flag in FLAGS if len(tiles) else ():
                    rates[s][flag].append((name, len(tiles), int(tiles[f"flag_{flag}"].sum())))
    print("| source | slides, tiles | level | " + " | ".join(f.upper() for f in FLAGS) + " |")
    print("|---" * (3 + len(FLAGS)) + "|")
    for s, of in rates.items():
        slides, tiles = len(of[FLAGS[0]]), sum(n for _, n, _ in of[FLAGS[0]])
        name = ("soft-" if s == SOFT else "") + "without-part-0"
        scores = json.loads((bench.given.work / "profiles" / name / "profile.json").read_text())
        level = 1 / (next(x for x in scores["scanners"] if x["id"] == s)["calibration"]["novel"] + 1)
        cells = []
        for flag in FLAGS:
            raised = sum(k for *_, k in of[flag])
            most = max(k for *_, k in of[flag])
            cells.append(by_slides([k / n for _, n, k in of[flag]]) + (f"; {most} of {raised} on one" if raised else ""))
        print(f"| {s} | {slides}, {tiles} | {max(level, 0.01):.1%} | " + " | ".join(cells) + " |", flush=True)


def unseen(bench, found, pool, others):
    """Novelty of a source as one slide, by a profile of all other sources of the pool."""
    whole = {s: bench.slide(s, "as one slide", evenly([t for of in found[s].values() for t in of], 60)) for s in [*pool, *others]}
    print("\n| source that the profile was not shown | tiles | novelty, p | NOVEL | FOREIGN | FEATURES_UNRELIABLE | UNDEREXPOSED |")
    print("|---|---|---|---|---|---|---|")
    told = []
    for s in [*pool, *others]:
        shown = [bench.slide(o, n, t) for o in pool if o != s for n, t in found[o].items()]
        liver = [bench.slide("liver, centre A", n, t) for n, t in found["liver, centre A"].items()]
        name = "pool-without-" + s.replace(",", "").replace(" ", "-") if s in pool else "pool"
        profile = bench.profile(name, {"pool": shown, "liver": liver})
        slide, tiles = bench.judged(whole[s], profile, "pool", "unknown")
        novelty = slide["summary"]["novelty"]
        told.append(novelty["verdict"] == "none of these")
        share = lambda flag: f"{tiles[f'flag_{flag}'].mean():.0%}"
        print(f"| {s} | {len(tiles)} | {novelty['verdict']}, {novelty['p']:.2f} | {share('novel')} | {share('foreign')} | "
              f"{share('features_unreliable')} | {share('underexposed')} |", flush=True)
    print(f"\n{sum(told)} of {len(told)} are said to be like none of these.")
    print("\n| without a profile, stain given as H&E | tiles | FOREIGN | FEATURES_UNRELIABLE | error: median, 99 % |")
    print("|---|---|---|---|---|")
    for s in [*pool, *others]:
        _, tiles = bench.judged(whole[s])
        mid, high = tiles.reconstruction_error.quantile([.5, .99])
        print(f"| {s} | {len(tiles)} | {tiles.flag_foreign.mean():.0%} | {tiles.flag_features_unreliable.mean():.0%} | "
              f"{mid:.2f}, {high:.2f} |", flush=True)


def main():
    parser = argparse.ArgumentParser()
    for name in ("coverslip", "bundle", "work"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    bench, found = Bench(parser.parse_args()), slides()
    for s, of in found.items():
        print(f"{s}: {len(of)} slides, {sum(map(len, of.values()))} tiles")
    print()
    own = ["NuInsSeg", "BreCaHAD", "liver, centre A", "bone tumour", "GTEx fat and beside it", "sections of colon"]
    left_out(bench, found, own)
    pool = [s for s in own if s not in ("liver, centre A", SOFT)]
    pool += ["pairs, Aperio", "lymph node, Camelyon", "prostate, PANDA", "TCGA"]
    others = [SOFT, "pairs, Hamamatsu", "CoNSeP", "CMU-1", "colon, Kather", "colon polyps", BLUE, FLUORESCENCE]
    unseen(bench, found, pool, others)


if __name__ == "__main__":
    main()
