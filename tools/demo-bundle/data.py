"""The images, their licences and scale, which of them train, and the crops.

`fields(root)` gives the images that may be trained on, and the one organ that chooses settings.
`held_out(root)` gives the sets that nothing is ever trained on or chosen by.
"""
import argparse
import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

import perturb

SIDE, MPP = 224, 0.5
MEAN = np.array([0.485, 0.456, 0.406], np.float32)
STD = np.array([0.229, 0.224, 0.225], np.float32)
# BreCaHAD's masks are discs of one size at the nuclei's centres: a disc's area at 40x.
DISC = 1257.0
# Crops of each training source. Fields of one source share them equally.
CROPS = {"brecahad": 3000, "tcga": 1800, "lymph_node": 2000, "bone": 2600, "fat": 800,
         "fat_stroma": 1600, "tcga_coarse": 400, "glass": 300, "pen_and_edge": 400}


@dataclass
class Field:
    name: str
    source: str
    group: str               # what is independent of other groups: a slide, a patient, a run of the index
    pixels: np.ndarray
    nuclei: np.ndarray | None = None   # nuclei per pixel, where they are annotated
    zoom: tuple = (0.75, 1.35)         # a crop's side in pixels of the field, over SIDE
    label: str = ""


def arguments():
    p = argparse.ArgumentParser()
    p.add_argument("--data", type=Path, default=Path("../shared/data"))
    p.add_argument("--work", type=Path, default=Path("demo-work"), help="caches and checkpoints")
    p.add_argument("--threads", type=int, default=1)
    return p


def read(path, reduce=1):
    im = Image.open(path).convert("RGB")
    return np.asarray(im.reduce(reduce) if reduce > 1 else im)


def at_least_a_tile(pixels):
    """Mirrors the edges of an image that is smaller than a tile."""
    need = [max(0, SIDE - n) for n in pixels.shape[:2]]
    pad = [(n // 2, n - n // 2) for n in need]
    return np.pad(pixels, pad + [(0, 0)], mode="reflect")


def rows(folder):
    return {r["file"]: r for r in csv.DictReader(open(folder / "labels.csv"))}


def fields(root):
    """The images that may be trained on, by licence: CC BY, CC0, Apache-2.0, MIT, Clear BSD."""
    out = []
    for f in sorted((root / "nuclei_brecahad/images").glob("*.jpg")):          # 40x, about 0.25 um/px
        disc = np.asarray(Image.open(root / "nuclei_brecahad/masks" / f.name).convert("L")) > 127
        nuclei = disc.reshape(disc.shape[0] // 2, 2, disc.shape[1] // 2, 2).sum((1, 3)) / DISC
        out.append(Field(f.stem, "brecahad", f.stem, read(f, 2), nuclei.astype(np.float32)))
    he = root / "he_tiles"
    for f in sorted(he.glob("*level*.png")):
        # Level 0: 0.4-0.5 um/px by the size of red cells and nuclei. Others: coarser, for variety.
        source = "tcga" if "level0" in f.stem else "tcga_coarse"
        out.append(Field(f.stem, source, f.stem, read(f)))
    for f in ["he_tiles/almost-white-1", "he_tiles/no-tissue2", "artefacts/almost-white-2", "artefacts/no-tissue"]:
        out.append(Field(f, "glass", f, read(root / f"{f}.png")))
    for f in ["no-tissue-green-pen", "no-tissue-red-pen", "low-nuclei-score-level1",
              "medium-nuclei-score-green-pen-level1", "coverslip_ihc/coverslip_edge", "pen_he/pen_green",
              "pen_he/pen_red"]:
        out.append(Field(f, "pen_and_edge", f, read(root / f"artefacts/{f}.png")))
    for f in sorted((root / "camelyon16_tiles/images").glob("*.jpg")):         # not recorded, resampled
        out.append(Field(f.stem, "lymph_node", f.stem, read(f)))
    for f in sorted((root / "osteosarcoma").glob("*.jpg")):                    # 10x: about 1 um/px
        out.append(Field(f.stem, "bone", f.stem, read(f), zoom=(0.55, 1.0)))
    for f in sorted((root / "adipose_gtex/tiles1024").glob("*/*.jpg")):        # Aperio 20x, 0.49 um/px
        source = {"adipocyte": "fat", "not_adipocyte": "fat_stroma", "empty": "glass"}[f.parent.name]
        out.append(Field(f.stem, source, f.stem.split("_")[1], read(f)))
    return out


def selection(root):
    """The organ that chooses settings, colon: 60 tiles at 0.33 um/px, 24 of 150 px at 0.495 um/px."""
    out, folder = [], root / "kather2016"
    labels = rows(folder)
    for f in sorted(folder.glob("*.png")) + sorted(folder.glob("*.tif")):
        out.append(Field(f.stem, "colon", f.stem, at_least_a_tile(read(f)),
                         label=labels.get(f.name, {}).get("label", "")))
    return out


def held_out(root):
    """Never trained on, never chosen by: opened for the card's figures alone. One tile a field, its middle."""
    out = {"nuinsseg": [], "tnbc": [], "aperio": [], "hamamatsu": [], "cmu1": []}
    folder = root / "nuinsseg"
    by_index = sorted(rows(folder).values(), key=lambda r: int(r["index"]))
    for i, r in enumerate(by_index):          # twelve neighbours in the index: 32 runs
        out["nuinsseg"].append(Field(r["file"], "nuinsseg", f"run {i // 12:02}", read(folder / r["file"], 2),
                                     label=r["nuclei_components"]))
    folder = root / "tnbc_nuclei"
    for r in rows(folder).values():           # 448 px at 0.25 um/px: exactly a tile
        out["tnbc"].append(Field(r["file"], "tnbc", r["patient"], read(folder / r["file"], 2),
                                 label=r["nuclei_components"]))
    folder = root / "scanner_pairs_AH"
    for r in sorted(rows(folder).values(), key=lambda r: r["pair"]):   # 256 px at 0.25 um/px, taken as they are
        scanner = "aperio" if r["scanner"].startswith("Aperio") else "hamamatsu"
        px = read(folder / r["file"])
        px = px[16:240, 16:240] if scanner == "aperio" else px[20:244, 20:244]
        out[scanner].append(Field(r["pair"], scanner, r["slide"], px))
    cmu = tifffile.imread(root / "wsi/CMU-1-Small-Region.svs")
    for y in range(0, cmu.shape[0] - SIDE + 1, SIDE):
        for x in range(0, cmu.shape[1] - SIDE + 1, SIDE):
            tile = cmu[y:y + SIDE, x:x + SIDE]
            if tissue_fraction(tile) >= 0.25:
                out["cmu1"].append(Field(f"{x},{y}", "cmu1", "CMU-1", tile))
    return out


def middle(pixels):
    y, x = ((n - SIDE) // 2 for n in pixels.shape[:2])
    return np.ascontiguousarray(pixels[y:y + SIDE, x:x + SIDE])


def tissue_fraction(tile):
    """Share of pixels that are coloured: glass is grey."""
    t = tile.astype(np.int16)
    return float(((t.max(-1) - t.min(-1)) > 20).mean())


def dihedral(tile, k):
    tile = np.rot90(tile, k % 4)
    return np.ascontiguousarray(tile[:, ::-1] if k >= 4 else tile)


def crop(field, rng):
    """A place, a scale and one of eight orientations; the tile and its nuclei (nan: not annotated)."""
    h, w = field.pixels.shape[:2]
    side = int(round(SIDE * np.exp(rng.uniform(*np.log(field.zoom)))))
    side = min(side, h, w)
    y, x = rng.integers(0, h - side + 1), rng.integers(0, w - side + 1)
    tile = np.asarray(Image.fromarray(field.pixels[y:y + side, x:x + side]).resize((SIDE, SIDE), Image.BICUBIC))
    count = np.nan if field.nuclei is None else float(field.nuclei[y:y + side, x:x + side].sum())
    return dihedral(tile, rng.integers(8)), count


def training_crops(root, seed=0, share=1.0):
    """Yields tile, source, annotated nuclei, in random order. Three in five get another stain: that stain is
    part of the view that the teacher sees."""
    rng = np.random.default_rng(seed)
    every = fields(root)
    plan = [f for s, n in CROPS.items() for same in [[f for f in every if f.source == s]]
            for f in [same[i % len(same)] for i in range(int(n * share))]]
    rng.shuffle(plan)
    for f in plan:
        tile, count = crop(f, rng)
        if rng.random() < 0.6:
            tile = perturb.to_u8(perturb.restain(tile.astype(np.float32), rng))
        yield tile, f.source, count


def normalise(tiles):
    """u8 [n,224,224,3] -> f32 [n,3,224,224]"""
    return np.ascontiguousarray(((tiles.astype(np.float32) / 255 - MEAN) / STD).transpose(0, 3, 1, 2))
