"""Real H&E by slide, as one file for `coverslip bundle quantise` and fidelity.py: `tiles` u8 [n, 224, 224, 3], `slide`
i32 [n].

    tiles.py OUT.safetensors            # or with --data

Fields of 0.25 um/px are halved; all others stay as they are, some coarser than the model's 0.5 um/px. At most four tiles of
a slide or field are taken, spread over it; of COSAS, where only panels are there, four panels of each scanner. Nothing of it
is committed.
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image
from safetensors.numpy import save_file

ROOT = Path(__file__).resolve().parents[3]
SIDE = 224
MOST = 4
# Folder, pattern, by how much it is reduced, how many files, and whether each is a slide of its own or its name says.
SOURCES = [
    ("nuclei_brecahad/images", "*.jpg", 2, None, None),
    ("monuseg/images", "*.png", 2, None, None),
    ("tnbc_nuclei/images", "*.png", 2, None, lambda path: path.stem.split("_")[0]),
    ("camelyon16_tiles/images", "*.jpg", 1, None, None),
    ("he_tiles", "*level0*.png", 1, None, None),
    ("crc_polyp_classes", "*/*.jpg", 1, 10, None),
    ("cosas_six_scanners", "*/*.jpg", 1, None, lambda path: path.parent.name),
    ("osteosarcoma", "*.jpg", 1, None, None),
    ("wsi", "CMU-1-Small-Region.svs", 1, None, None),
]


def spread(items, count):
    """`count` of them at equal distances; all where there are no more."""
    if count is None or len(items) <= count:
        return items
    return [items[i * len(items) // count] for i in range(count)]


def tiles_of(path, reduced):
    image = Image.open(path).convert("RGB")
    pixels = np.asarray(image.reduce(reduced) if reduced > 1 else image)
    rows, columns = (range(0, length - SIDE + 1, SIDE) for length in pixels.shape[:2])
    found = [pixels[top : top + SIDE, left : left + SIDE] for top in rows for left in columns]
    # Glass is grey.
    return [tile for tile in found if ((np.ptp(tile, axis=-1)) > 20).mean() >= 0.25]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared/data", help="the images")
    arguments = parser.parse_args()
    slides = {}
    for folder, pattern, reduced, count, slide in SOURCES:
        before = len(slides)
        paths = sorted((arguments.data / folder).glob(pattern))
        if not paths:
            print(f"skip {folder}: not there")
        for path in spread(paths, count):
            name = (folder, slide(path) if slide else path.name)
            slides.setdefault(name, []).extend(tiles_of(path, reduced))
        print(f"{folder}: {len(slides) - before} slides or fields")
    kept = {name: spread(tiles, MOST) for name, tiles in slides.items() if tiles}
    tiles = np.concatenate([np.stack(tiles) for tiles in kept.values()])
    numbers = np.repeat(np.arange(len(kept), dtype=np.int32), [len(tiles) for tiles in kept.values()])
    save_file({"tiles": tiles, "slide": numbers}, str(arguments.out))
    print(f"{len(tiles)} tiles of {len(kept)} slides or fields: {arguments.out}")


if __name__ == "__main__":
    main()
