"""Tiles and counts for docs/measured/cell-counts.md from CoNSeP and BreCaHAD, which are not part of this repository.

    pip install numpy scipy pillow
    python tools/cell-counts/prepare.py DATA OUT

DATA has `nuclei_consep` (56 tiles of 256 px, counts.csv) and `nuclei_brecahad` (images/, masks/ of one name). Both were
scanned at 40x, about 0.25 µm/px, which the files do not record; the models here want 224 px of 0.5 µm, 112 µm.

- CoNSeP's tiles are only 64 µm wide. They are halved to 128 px and mirrored at their edges to 224 px: the same
  nuclei at the model's own scale, some of them more than once, none from elsewhere.
- BreCaHAD's images (1360 × 1024 px) are halved and cut into 3 × 2 tiles of 224 px. The masks have a disc of
  20 px radius at each annotated nucleus, overlapping where nuclei are near each other: a nucleus is a maximum of the
  distance to the discs' edge, counted in the tile that holds it. Many nuclei that one sees are not annotated. One image is
  there twice and is left out; images that overlap are one specimen.
"""

import csv
import sys
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage

SIDE = 224
# Found by cross-correlating the images: 10016 is 10015 again, and two pairs overlap.
TWICE = {"10016"}
SAME_FIELD = {"10023": "10022", "10024": "10021"}


def halved(image):
    return np.asarray(image.resize((image.width // 2, image.height // 2), Image.Resampling.BOX))


def consep(data, out):
    out.mkdir(parents=True, exist_ok=True)
    with open(data / "counts.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    with open(out / "counts.csv", "w", newline="") as file:
        writer = csv.writer(file)
        types = ["epithelial", "inflammatory", "spindle", "other"]
        writer.writerow(["tile", "image", *types, "nuclei"])
        for row in rows:
            pixels = halved(Image.open(data / f"{row['tile']}.jpg").convert("RGB"))
            margin = SIDE - pixels.shape[0]
            pad = (margin // 2, margin - margin // 2)
            Image.fromarray(np.pad(pixels, (pad, pad, (0, 0)), mode="symmetric")).save(out / f"{row['tile']}.png")
            writer.writerow([row["tile"], row["tile"].rsplit("_", 1)[0], *(row[t] for t in types), row["n_nuclei"]])


def brecahad(data, out):
    out.mkdir(parents=True, exist_ok=True)
    with open(out / "counts.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["tile", "specimen", "nuclei"])
        for path in sorted((data / "images").glob("*.jpg")):
            if path.stem in TWICE:
                continue
            image = Image.open(path).convert("RGB")
            mask = np.asarray(Image.open(next((data / "masks").glob(f"{path.stem}.*"))).convert("L").resize(image.size, Image.Resampling.NEAREST)) > 127
            distance = ndimage.distance_transform_edt(mask)
            peaks = (distance == ndimage.maximum_filter(distance, size=15)) & (distance > 15)
            labels, count = ndimage.label(peaks, structure=np.ones((3, 3)))
            centres = np.array(ndimage.center_of_mass(peaks, labels, range(1, count + 1)))
            pixels = halved(image)
            for row in range(pixels.shape[0] // SIDE):
                for column in range(pixels.shape[1] // SIDE):
                    y, x = row * SIDE, column * SIDE
                    name = f"{path.stem}_{row}{column}"
                    Image.fromarray(pixels[y : y + SIDE, x : x + SIDE]).save(out / f"{name}.png")
                    inside = (centres // 2 >= (y, x)).all(1) & (centres // 2 < (y + SIDE, x + SIDE)).all(1)
                    writer.writerow([name, f"s{SAME_FIELD.get(path.stem, path.stem)}", int(inside.sum())])


if __name__ == "__main__":
    data, out = map(Path, sys.argv[1:3])
    consep(data / "nuclei_consep", out / "consep")
    brecahad(data / "nuclei_brecahad", out / "brecahad")
