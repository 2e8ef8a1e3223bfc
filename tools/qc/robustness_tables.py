"""Adds what `coverslip analyze scanners` needs to the tables of embeddings of four sets of the shared data.

    coverslip embed --bundle BUNDLE --field tile --background --stretch --mpp M --out EMBEDDINGS/NAME.safetensors IMAGES
    python tools/qc/robustness_tables.py --data ../shared/data --embeddings EMBEDDINGS --out TABLES

NAME (M): ah (0.2455), liver (0.5), monuseg (0.25), nuinsseg (0.25). Needs numpy, pillow and safetensors. Written for each:

    ah        scanner; biology: the slide (seven); group: the place, which both scanners have
    liver     scanner: the centre; biology: fat above the median share or not (centre B has none); group: the slide
    stain     the same tiles; biology: haematoxylin on more of the tile than the median or not
    monuseg   scanner: the tissue source site; biology: the organ; group: the slide
    nuclei    nuinsseg and monuseg; scanner: the source; biology: nuclei on more than 0.2 of the tile or not; group: the
              slide, for nuinsseg runs of 20 in the index, which runs by organ
"""
import argparse
import csv
from pathlib import Path

import numpy as np
from PIL import Image
from safetensors.numpy import load_file, save_file

DENSE = 0.2


def labels(path):
    with path.open() as file:
        return {Path(row["file"]).stem: row for row in csv.DictReader(file)}


def embedded(folder, name):
    with (folder / f"{name}.csv").open() as file:
        tiles = [row["tile"] for row in csv.DictReader(file)]
    return load_file(folder / f"{name}.safetensors"), tiles


def write(out, name, tensors, rows):
    save_file(tensors, str(out / f"{name}.safetensors"))
    with (out / f"{name}.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, ["slide", "tile", "scanner", "biology", "group"])
        table.writeheader()
        table.writerows(rows)
    cells = {}
    for row in rows:
        cells.setdefault((row["scanner"], row["biology"]), set()).add(row["group"])
    print(name, len(rows), {key: len(groups) for key, groups in sorted(cells.items())} if len(cells) < 20 else len(cells))


def row(tile, scanner, biology, group):
    return {"slide": group, "tile": tile, "scanner": scanner, "biology": biology, "group": group}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    for name in ("data", "embeddings", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)

    known = labels(given.data / "scanner_pairs_AH/labels.csv")
    tensors, tiles = embedded(given.embeddings, "ah")
    write(given.out, "ah", tensors, [
        row(tile, known[tile]["scanner"].split()[0], "slide " + known[tile]["slide"], known[tile]["pair"]) for tile in tiles
    ])

    known = labels(given.data / "liver_steatosis/labels.csv")
    tensors, tiles = embedded(given.embeddings, "liver")
    fat = {tile: float(known[tile]["fat_fraction"]) for tile in tiles}
    middle = np.median(list(fat.values()))
    print(f"liver: median share of fat {middle:.4f}")
    write(given.out, "liver", tensors, [
        row(tile, known[tile]["centre"], "fat" if fat[tile] > middle else "lean", known[tile]["slide"]) for tile in tiles
    ])

    with (given.embeddings / "liver.csv").open() as file:
        stained = {line["tile"]: float(line["haematoxylin_area"]) for line in csv.DictReader(file)}
    middle = np.median(list(stained.values()))
    write(given.out, "stain", tensors, [
        row(tile, known[tile]["centre"], "dark" if stained[tile] > middle else "pale", known[tile]["slide"])
        for tile in tiles
    ])

    sites = labels(given.data / "monuseg/labels.csv")
    first, own = embedded(given.embeddings, "monuseg")
    write(given.out, "monuseg", first, [row(tile, sites[tile]["tss"], sites[tile]["organ_by_tss"], tile) for tile in own])

    nuclei = labels(given.data / "nuinsseg/labels.csv")
    second, tiles = embedded(given.embeddings, "nuinsseg")

    def density(share):
        return "dense" if share > DENSE else "sparse"

    def covered(tile):
        return float((np.asarray(Image.open(given.data / "monuseg/masks" / f"{tile}.png")) > 0).mean())

    rows = [row(tile, "TCGA", density(covered(tile)), tile) for tile in own]
    rows += [
        row(tile, "NuInsSeg", density(float(nuclei[tile]["nuclear_area"])), f"run {int(nuclei[tile]['index']) // 20}")
        for tile in tiles
    ]
    write(given.out, "nuclei", {key: np.concatenate([first[key], second[key]]) for key in first}, rows)


main()
