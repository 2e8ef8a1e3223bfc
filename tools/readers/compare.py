"""Reads every file of the corpus with Coverslip and with the oracles, and says what differs.

    compare.py FOLDER --pixels PROGRAM [--table FILE]

An outcome is one of
  same       the oracle's pixels: exactly, or for JPEG within the tolerance of two decoders
  refused    Coverslip names what it does not read (never "damaged") and says what helps
  no oracle  Coverslip reads it, and no oracle does
and each of these is a fault, which ends the run with 1:
  differs    other pixels
  damaged    Coverslip calls damaged what an oracle reads
  silent     grey, CMYK, palette or deep pixels that were taken without a word
"""

import argparse
import collections
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import openslide
import tifffile
from PIL import Image

# Decoders of JPEG differ in their inverse transform and in how they enlarge chroma.
MOST_MEAN, MOST_OF_999 = 1.5, 24


def by_tifffile(path):
    """RGB of the first full-sized page."""
    with tifffile.TiffFile(path) as tif:
        page = tif.pages[0]
        data = page.asarray()
        if page.planarconfig == 2 and data.ndim == 3:
            data = np.moveaxis(data, 0, -1)
        if data.ndim != 3 or data.shape[-1] not in (3, 4) or data.dtype != np.uint8 or page.photometric not in (2, 6):
            return None
        rgb = data[..., :3].copy()
        if data.shape[-1] == 4 and page.tags.get(338) and page.tags[338].value[0] in (1, 2):
            rgb[data[..., 3] == 0] = 255
        return rgb


def by_pillow(path):
    with Image.open(path) as image:
        if image.mode in ("CMYK", "I;16", "I"):
            return None
        if image.mode in ("RGBA", "LA") or "transparency" in image.info:
            data = np.asarray(image.convert("RGBA"))
            rgb = data[..., :3].copy()
            rgb[data[..., 3] == 0] = 255
            return rgb
        return np.asarray(image.convert("RGB"))


def by_openslide(path):
    try:
        with openslide.OpenSlide(str(path)) as slide:
            data = np.asarray(slide.read_region((0, 0), 0, slide.dimensions)).copy()
    except Exception:  # noqa: BLE001: openslide raises its own and ctypes'
        return None
    rgb = data[..., :3]
    rgb[data[..., 3] == 0] = 255
    return rgb


def difference(found, expected):
    """Largest and mean difference, and that of 99.9 % of the samples."""
    if found.shape != expected.shape:
        return None
    gap = np.abs(found.astype(np.int16) - expected)
    return int(gap.max()), float(gap.mean()), float(np.quantile(gap, 0.999))


def fits(gap, lossy):
    return gap is not None and (gap[0] == 0 if not lossy else gap[1] <= MOST_MEAN and gap[2] <= MOST_OF_999)


def judge(file, path, answer, rgb):
    """The outcome, a detail, and the same for OpenSlide."""
    lossy = file["compression"].lower() in ("jpeg", "webp", "jpeg2000")
    try:
        oracle = by_pillow(path) if file["format"] in ("PNG", "JPEG") else by_tifffile(path)
    except Exception as error:  # noqa: BLE001
        oracle, file["oracle_error"] = None, str(error)
    other = by_openslide(path)
    if "error" in answer:
        error = answer["error"].split(": ", 1)[1]
        damaged = any(word in error for word in ("damaged", "truncated", "Copy the slide")) and oracle is not None
        return ("damaged" if damaged else "refused"), error, None
    info = answer["info"]
    found = np.frombuffer(rgb.read_bytes(), np.uint8).reshape(info["height"], info["width"], 3)
    against_other = None
    # OpenSlide takes a fourth sample of no stated meaning for opacity; the specification and tifffile do not.
    if other is not None and file["photometric"] != "rgbx":
        against_other = fits(difference(found, other), lossy)
    if oracle is None:
        strange = file["photometric"].lower() in ("grey", "cmyk", "palette", "lab", "rgb16", "float") and file["format"] not in ("PNG", "JPEG")
        return ("silent" if strange else "no oracle"), "", against_other
    gap = difference(found, oracle)
    detail = "another size" if gap is None else f"largest {gap[0]}, mean {gap[1]:.2f}, 99.9 % within {gap[2]:.0f}"
    return ("same" if fits(gap, lossy) else "differs"), detail, against_other


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pixels", required=True)
    parser.add_argument("--table", type=Path)
    options = parser.parse_args()
    corpus = json.loads((options.folder.parent / "corpus.json").read_text())
    files = corpus["files"]
    paths = [options.folder / file["name"] for file in files]
    outcomes, lines, openslide_counts = collections.defaultdict(collections.Counter), [], collections.Counter()
    with tempfile.TemporaryDirectory(dir=options.folder.parent) as out:
        answers = []
        for start in range(0, len(paths), 50):
            run = subprocess.run([options.pixels, "--reader", "own", out, *map(str, paths[start : start + 50])], capture_output=True, text=True, check=True)
            answers += [json.loads(line) for line in run.stdout.splitlines()]
        assert len(answers) == len(files)
        for file, path, answer in zip(files, paths, answers):
            outcome, detail, other = judge(file, path, answer, Path(out) / f"{file['name']}.rgb")
            outcomes[file["writer"], file["format"], file["compression"].lower()][outcome] += 1
            if other is not None:
                openslide_counts[other] += 1
                if not other:
                    lines.append(f"OpenSlide has other pixels: {file['name']}")
            if outcome in ("differs", "damaged", "silent"):
                lines.append(f"{outcome}: {file['name']}: {detail}")
    columns = ["same", "refused", "no oracle", "differs", "damaged", "silent"]
    table = ["| writer | format | compression | " + " | ".join(columns) + " |", "|---|---|---|" + "---:|" * len(columns)]
    total = collections.Counter()
    for key in sorted(outcomes):
        total += outcomes[key]
        table.append("| " + " | ".join([*key, *(str(outcomes[key][column] or "") for column in columns)]) + " |")
    table.append("| all | | | " + " | ".join(str(total[column]) for column in columns) + " |")
    print("\n".join(table))
    print(f"OpenSlide reads {sum(openslide_counts.values())} of those that Coverslip reads: {openslide_counts[True]} with the same pixels")
    print("\n".join(lines) or "nothing differs")
    if options.table:
        options.table.write_text("\n".join(table) + "\n")
    sys.exit(1 if lines else 0)


if __name__ == "__main__":
    main()
