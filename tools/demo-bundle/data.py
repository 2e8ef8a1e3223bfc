"""The images, their scale, the crops, and the scanner-like perturbations.

Everything is brought to 0.5 um/px and cut into 224 px crops. One source, CMU-1,
is held out whole: it is never trained on and never used to choose anything.
"""
import argparse
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image
from scipy.ndimage import gaussian_filter

SIDE, MPP = 224, 0.5
MEAN = np.array([0.485, 0.456, 0.406], np.float32)
STD = np.array([0.229, 0.224, 0.225], np.float32)

# H&E of The Cancer Genome Atlas, pyramid level 0: the files record no scale. Red
# cells are 14-19 px wide and nuclei 12-25 px long, so 0.4-0.5 um/px; 0.5 is used.
TCGA = ["high-nuclei-score-level0", "medium-nuclei-score-level0", "low-nuclei-score-level0",
        "very-low-nuclei-score-level0", "tissue-level0-4302-10273-4814-10785"]
# Glass, dust and ink: no tissue, so no scale is needed.
GLASS = ["he_tiles/almost-white-1", "he_tiles/no-tissue2", "artefacts/almost-white-2",
         "artefacts/no-tissue", "artefacts/no-tissue-green-pen", "artefacts/no-tissue-red-pen"]
# BreCaHAD fields kept back to watch the training; other fields of the same slides
# are trained on, so this is a weaker test than the held-out source.
BRECAHAD_KEPT_BACK = {"10013", "10018", "10023", "10029"}


@dataclass
class Field:
    name: str
    source: str    # brecahad, tcga, glass, cmu1
    split: str     # train, watch (same source, other fields), held_out
    pixels: np.ndarray


def arguments():
    p = argparse.ArgumentParser()
    p.add_argument("--data", type=Path, default=Path("../shared/data"))
    p.add_argument("--work", type=Path, default=Path("demo-work"), help="caches and checkpoints")
    return p


def read(path):
    return np.asarray(Image.open(path).convert("RGB"))


def fields(root):
    """All permitted images at 0.5 um/px. CoNSeP and HIPT are never opened."""
    out = []
    for f in sorted((root / "nuclei_brecahad/images").glob("*.jpg")):
        im = Image.open(f).convert("RGB").reduce(2)          # 40x, about 0.25 um/px
        split = "watch" if f.stem in BRECAHAD_KEPT_BACK else "train"
        out.append(Field(f.stem, "brecahad", split, np.asarray(im)))
    for n in TCGA:
        out.append(Field(n, "tcga", "train", read(root / f"he_tiles/{n}.png")))
    for n in GLASS:
        out.append(Field(n, "glass", "train", read(root / f"{n}.png")))
    cmu = tifffile.imread(root / "wsi/CMU-1-Small-Region.svs")  # 0.499 um/px, used as it is
    out.append(Field("CMU-1-Small-Region", "cmu1", "held_out", cmu))
    return out


def tissue_fraction(tile):
    """Share of pixels that are coloured: glass is grey."""
    t = tile.astype(np.int16)
    return float(((t.max(-1) - t.min(-1)) > 20).mean())


def grid(length, stride):
    """Even positions from edge to edge, `stride` apart or a little less."""
    if stride >= SIDE:
        return list(range(0, length - SIDE + 1, stride))
    n = int(np.ceil((length - SIDE) / stride)) + 1
    return np.linspace(0, length - SIDE, n).round().astype(int).tolist()


def dihedral(tile, k):
    tile = np.rot90(tile, k % 4)
    return np.ascontiguousarray(tile[:, ::-1] if k >= 4 else tile)


def crops(all_fields, split, seed=0):
    """Training: overlapping, three of the eight orientations per place.
    Elsewhere: side by side, upright. Returns tiles u8 [n,224,224,3], source and field names."""
    rng = np.random.default_rng(seed)
    tiles, sources, names = [], [], []
    for f in (f for f in all_fields if f.split == split):
        stride = {"brecahad": 76, "tcga": 90, "glass": 144}[f.source] if split == "train" else SIDE
        h, w = f.pixels.shape[:2]
        for y in grid(h, stride):
            for x in grid(w, stride):
                tile = f.pixels[y:y + SIDE, x:x + SIDE]
                turns = rng.choice(8, 3, replace=False) if split == "train" else [0]
                for k in turns:
                    tiles.append(dihedral(tile, k))
                    sources.append(f.source)
                    names.append(f.name)
    return np.stack(tiles), np.array(sources), np.array(names)


# ---- perturbations: float RGB in 0..255 in, the same out -------------------------------

def colour(x, matrix, gain):
    """Another stain or sensor: mixes the optical densities, then scales each channel."""
    od = -np.log(np.clip(x, 1, 255) / 255)
    return np.clip(255 * np.exp(-np.clip(od @ matrix.T, 0, None)) * gain, 0, 255)


def gamma(x, g):
    return 255 * (x / 255) ** g


def blur(x, sigma):
    return gaussian_filter(x, (sigma, sigma, 0), mode="nearest")


def noise(x, sd, rng):
    return np.clip(x + rng.normal(0, sd, x.shape), 0, 255)


def jpeg(x, quality):
    buf = io.BytesIO()
    Image.fromarray(np.clip(x + 0.5, 0, 255).astype(np.uint8)).save(buf, "JPEG", quality=int(quality))
    return np.asarray(Image.open(buf)).astype(np.float32)


def augment(tile, rng):
    """What the student sees while training; about one tile in seven stays clean."""
    x = tile.astype(np.float32)
    if rng.random() < 0.15:
        return tile
    if rng.random() < 0.8:
        m = np.eye(3) * rng.uniform(0.75, 1.3, 3) + rng.normal(0, 0.06, (3, 3))
        x = colour(x, m.astype(np.float32), rng.uniform(0.9, 1.06, 3).astype(np.float32))
    if rng.random() < 0.5:
        x = gamma(x, rng.uniform(0.7, 1.4))
    if rng.random() < 0.4:
        x = blur(x, rng.uniform(0.3, 2.0))
    if rng.random() < 0.4:
        x = noise(x, rng.uniform(2, 12), rng)
    if rng.random() < 0.4:
        x = jpeg(x, rng.integers(30, 90))
    return np.clip(x + 0.5, 0, 255).astype(np.uint8)


SCANNER_B = np.array([[0.85, 0.10, 0.00], [0.05, 1.15, 0.05], [0.00, 0.08, 0.95]], np.float32)
WARM = np.array([1.0, 0.96, 0.92], np.float32)


def perturbations():
    """Fixed perturbations for the evaluation, by name: f(tile u8, rng) -> tile u8."""
    def u8(f):
        return lambda t, r: np.clip(f(t.astype(np.float32), r) + 0.5, 0, 255).astype(np.uint8)
    return {
        "colour": u8(lambda x, r: colour(x, SCANNER_B, WARM)),
        "gamma 1.35": u8(lambda x, r: gamma(x, 1.35)),
        "blur 1.5 px": u8(lambda x, r: blur(x, 1.5)),
        "noise 10": u8(lambda x, r: noise(x, 10, r)),
        "JPEG 35": u8(lambda x, r: jpeg(x, 35)),
        "all five, milder": u8(lambda x, r: jpeg(noise(blur(gamma(colour(
            x, (SCANNER_B + np.eye(3, dtype=np.float32)) / 2, WARM), 1.2), 1.0), 5, r), 50)),
    }


def normalise(tiles):
    """u8 [n,224,224,3] -> f32 [n,3,224,224]"""
    return np.ascontiguousarray(((tiles.astype(np.float32) / 255 - MEAN) / STD).transpose(0, 3, 1, 2))
