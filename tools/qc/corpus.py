"""The real tiles that the QC formulas are measured on, all at 0.5 um/px, 224 px, packed RGB.

`../shared/data` of the checkout (or $COVERSLIP_DATA) holds them; nothing of them is copied into the project.
"""
import csv
import io
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image
from scipy.ndimage import gaussian_filter

SIDE, MPP = 224, 0.5
ROOT = Path(os.environ.get("COVERSLIP_DATA", Path(__file__).resolve().parents[3] / "shared/data"))
# TCGA, pyramid level 0: no scale in the files; red cells and nuclei say 0.4 to 0.5 um/px.
TCGA = ["high-nuclei-score-level0", "medium-nuclei-score-level0", "low-nuclei-score-level0",
        "very-low-nuclei-score-level0", "tissue-level0-4302-10273-4814-10785"]
BLANK = ["he_tiles/almost-white-1", "he_tiles/no-tissue2", "artefacts/almost-white-2", "artefacts/no-tissue"]
PEN = ["artefacts/no-tissue-green-pen", "artefacts/no-tissue-red-pen"]


@dataclass
class Tile:
    source: str   # cmu1, brecahad, tcga, ihc-ndpi, ihc-vsi, consep, blank, pen, or of others()
    name: str
    rgb: np.ndarray


def read(path):
    return Image.open(path).convert("RGB")


def at_model_scale(image, mpp):
    """Pillow's antialiased bicubic, as pathology pipelines use it."""
    size = [round(s * mpp / MPP) for s in image.size]
    return np.asarray(image if mpp == MPP else image.resize(size, Image.Resampling.BICUBIC))


def cut(source, name, rgb, side=SIDE, origin=0):
    h, w = rgb.shape[:2]
    for y in range(origin, h - side + 1, side):
        for x in range(origin, w - side + 1, side):
            yield Tile(source, f"{name}@{x},{y}", np.ascontiguousarray(rgb[y:y + side, x:x + side]))


def tiles(sources=("cmu1", "brecahad", "tcga", "ihc-ndpi", "ihc-vsi")):
    out = []
    if "cmu1" in sources:
        out += cut("cmu1", "CMU-1", tifffile.imread(ROOT / "wsi/CMU-1-Small-Region.svs"))
    if "brecahad" in sources:
        for f in sorted((ROOT / "nuclei_brecahad/images").glob("*.jpg")):
            out += cut("brecahad", f.stem, at_model_scale(read(f), 0.25))
    if "tcga" in sources:
        for n in TCGA:
            out += cut("tcga", n, np.asarray(read(ROOT / f"he_tiles/{n}.png")))
    for source, file, mpp in [("ihc-ndpi", "OS-2-ndpi", 0.2271), ("ihc-vsi", "OS-2-vsi", 0.3457)]:
        if source in sources:
            rgb = tifffile.imread(ROOT / f"scanner_pair/{file}.ome.tif")
            out += cut(source, file, at_model_scale(Image.fromarray(rgb), mpp))
    if "consep" in sources:
        for f in sorted((ROOT / "nuclei_consep").glob("*.jpg")):
            out += cut("consep", f.stem, at_model_scale(read(f), 0.25), 128)
    for source, names in [("blank", BLANK), ("pen", PEN)]:
        if source in sources:
            for n in names:
                out += cut(source, n.split("/")[-1], np.asarray(read(ROOT / f"{n}.png")))
    return out


def centre(source, name, rgb):
    """The middle of an image; the whole of one that is smaller than a tile."""
    h, w = rgb.shape[:2]
    side = min(h, w, SIDE)
    y, x = (h - side) // 2, (w - side) // 2
    return Tile(source, name, np.ascontiguousarray(rgb[y:y + side, x:x + side]))


def others():
    """Tiles of sources that no threshold was chosen on, except nuinsseg and kather: one from each image.

    The READMEs of ../shared/data say what is known of their scale. Smaller than a tile: consep, sections, both scanners of
    AH (128 px), kather and kather-scaled (150 px; these were stored at 224)."""
    folders = [("nuinsseg", "nuinsseg", "*.jpg", 0.25), ("kather", "kather2016", "*.tif_Row*", 0.5),
               ("monuseg", "monuseg/images", "*", 0.25), ("tnbc", "tnbc_nuclei/images", "*", 0.25),
               ("camelyon", "camelyon16_tiles/images", "*", 0.5), ("panda", "panda_tiles", "*.jpg", 0.5),
               ("sections", "serial_sections_colon", "section*/*.jpg", 0.25),
               ("fat", "adipose_gtex/tiles1024", "adipocyte/*", 0.5),
               ("beside-fat", "adipose_gtex/tiles1024", "not_adipocyte/*", 0.5),
               ("aperio", "scanner_pairs_AH", "A*.jpg", 0.25), ("hamamatsu", "scanner_pairs_AH", "H*.jpg", 0.25),
               ("tcga-sharp", "focus_tcga", "in_focus*", 0.25), ("tcga-blurred", "focus_tcga", "out_of_focus*", 0.25)]
    out = tiles(("consep",))
    for f in sorted((ROOT / "kather2016").glob("image*.png")):
        out.append(centre("kather-scaled", f.stem, np.asarray(read(f).resize((150, 150), Image.Resampling.BICUBIC))))
    for source, folder, names, mpp in folders:
        for f in sorted((ROOT / folder).glob(names)):
            rgb = at_model_scale(read(f), mpp)
            out += cut(source, f.stem, rgb) if min(rgb.shape[:2]) >= 2 * SIDE else [centre(source, f.stem, rgb)]
    with open(ROOT / "liver_steatosis/labels.csv") as table:
        for row in csv.DictReader(table):
            out.append(centre("liver-" + row["centre"], row["slide"], np.asarray(read(ROOT / "liver_steatosis" / row["file"]))))
    return out


def blur(rgb, sigma):
    """Defocus, as a Gaussian in intensity, sigma in px at 0.5 um/px."""
    if sigma == 0:
        return rgb
    out = gaussian_filter(rgb.astype(np.float64), (sigma, sigma, 0), mode="nearest")
    return np.clip(np.rint(out), 0, 255).astype(np.uint8)


def camera(rgb, noise=2.0, quality=75, seed=0):
    """What comes after the optics: sensor noise (sigma in grey levels) and JPEG."""
    noisy = rgb + np.random.default_rng(seed).normal(0, noise, rgb.shape)
    buffer = io.BytesIO()
    Image.fromarray(np.clip(np.rint(noisy), 0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer).convert("RGB"))


def gain(rgb, factor):
    """Exposure: intensity times a factor, clipped."""
    return np.clip(np.rint(rgb * factor), 0, 255).astype(np.uint8)
