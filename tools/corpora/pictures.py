"""Pictures and slides: what Coverslip's readers make of each, beside what others make of it.

An outcome is one of
  same       the pixels of another decoder: exactly, or for JPEG within the tolerance of two decoders
  alone      taken, and no other decoder takes it
  guessed    taken, with other pixels than a lenient decoder guesses after a warning
  refused    refused by name, though another decoder reads it: palettes, 16 bits, CMYK, other formats
  unread     refused, and no other decoder takes it
and each of these is a failure:
  differs    other pixels than those of every decoder, of which one takes the file without a warning
  damaged    called damaged, though a strict decoder reads it without a warning
  lost       the process ended, hung or needed more than its memory
"""

import io
import itertools
import json
import logging
import os
import queue
import signal
import subprocess
import sys
import threading
import warnings
from collections import namedtuple
from pathlib import Path

import imagecodecs
import numpy as np
import simplejpeg
import tifffile
from PIL import Image

from trials import HANGS, LONGEST, SECONDS, THREADS, limited

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "readers"))
from compare import difference, fits  # noqa: E402

Answer = namedtuple("Answer", "error info rgb")
Picture = namedtuple("Picture", "what said")
# What another decoder made of a file. `strict`: it refuses what is damaged; `exact`: its pixels are the only right ones.
Oracle = namedtuple("Oracle", "name strict exact rgb")
VALUES, FAILURES = ("same", "alone", "guessed"), ("differs", "damaged", "lost")
BATCH = 200
# Pixels of the largest picture that is compared.
LARGEST = 80_000_000
# Pages of a TIFF that are looked at.
PAGES = 64
# The last chunk of a PNG, with its checksum.
PNG_END = b"IEND\xaeB\x60\x82"
# libjpeg takes a progressive picture whose last scans are missing for a whole one; Coverslip does not, on purpose.
EARLY = "the stream ends before the image does"

logging.disable(logging.CRITICAL)
Image.MAX_IMAGE_PIXELS = None


def read_all(program, paths, folder, environment):
    """Yields a path and its answer, or the words in which its process ended; starts another process for the rest."""
    rest = list(paths)
    while rest:
        batch, done = rest[:BATCH], 0
        for answer in answers(program, batch, folder, environment):
            yield batch[done], answer
            done += 1
        rest = rest[done:]


def answers(program, batch, folder, environment):
    """One answer for each file of a batch, until the process ends or hangs."""
    words = limited([program, "--reader", "own", folder, *batch], SECONDS * len(batch))
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment | THREADS)
    lines, said = queue.Queue(), []
    threads = [
        threading.Thread(target=lambda: [lines.put(line) for line in itertools.chain(process.stdout, [None])]),
        threading.Thread(target=lambda: said.append(process.stderr.read())),
    ]
    for thread in threads:
        thread.start()
    for path in batch:
        try:
            line = lines.get(timeout=HANGS)
        except queue.Empty:
            process.kill()
            yield f"hangs: it takes more than {HANGS} s"
            break
        if line is None:
            threads[1].join()
            yield f"the process ended with {process.wait()}: {said[0].decode('utf-8', 'replace').strip()}"
            break
        found, rgb = json.loads(line), folder / f"{path.name}.rgb"
        yield Answer(found.get("error"), found.get("info"), rgb.read_bytes() if rgb.exists() else None)
        rgb.unlink(missing_ok=True)
    process.wait()
    for thread in threads:
        thread.join()


class Late(BaseException):
    """No Exception, since decoders catch those."""


def late(_signal, _frame):
    raise Late


def attempt(decode, *arguments):
    """Pixels, or None where the decoder refuses, or takes too long."""
    signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return decode(*arguments)
    except (Exception, Late):  # noqa: BLE001: every decoder raises its own
        return None
    finally:
        signal.alarm(0)


def oracles(path, size=None, image=None):
    """What other decoders make of a file, or of the image of this number; those that refuse it are left out."""
    head, found = path.read_bytes()[:4], []
    if head[:3] == b"\xff\xd8\xff":
        found = [
            Oracle("libjpeg-turbo", True, False, attempt(strict_jpeg, path)),
            Oracle("Pillow", False, False, attempt(by_pillow, path)),
        ]
    elif head == b"\x89PNG":
        found = [
            # It stops at the last pixel: a file without its end is cut all the same.
            Oracle("libpng", PNG_END in path.read_bytes(), True, attempt(by_libpng, path)),
            Oracle("Pillow", False, True, attempt(by_pillow, path)),
        ]
    elif head[:2] in (b"II", b"MM"):
        rgb, lossy = attempt(by_tifffile, path, size, image) or (None, False)
        # tifffile hands JPEG to a decoder that guesses; of colours multiplied by opacity two right ones are a step apart.
        found = [
            Oracle("tifffile", not lossy, not lossy, rgb),
            Oracle("Pillow", False, not lossy, attempt(by_pillow, path, size, image)),
        ]
    return [oracle for oracle in found if oracle.rgb is not None]


def strict_jpeg(path):
    """By libjpeg-turbo, whose warnings are errors; None: CMYK."""
    data = path.read_bytes()
    height, width, colorspace, _ = simplejpeg.decode_jpeg_header(data, strict=True)
    if colorspace in ("CMYK", "YCCK") or height * width > LARGEST:
        return None
    return simplejpeg.decode_jpeg(data, colorspace="RGB", strict=True)


def flattened(data):
    """RGB of grey or colour with or without opacity: white where nothing is."""
    if data.dtype != np.uint8:
        return None
    data = data[..., None] if data.ndim == 2 else data
    channels = data.shape[-1]
    rgb = np.repeat(data[..., :1], 3, axis=-1) if channels < 3 else data[..., :3].copy()
    if channels in (2, 4):
        rgb[data[..., -1] == 0] = 255
    return rgb


def by_libpng(path):
    return flattened(imagecodecs.png_decode(path.read_bytes()))


def by_pillow(path, size=None, number=None):
    """RGB of 8 bits; None: other samples."""
    with Image.open(path) as image:
        image.seek((number or 1) - 1)
        if image.mode.startswith(("CMYK", "I", "F", "LAB", "YCbCr")) or size not in (None, image.size):
            return None
        if image.size[0] * image.size[1] > LARGEST:
            return None
        opaque = image.mode not in ("RGBA", "LA", "PA") and "transparency" not in image.info
        return flattened(np.asarray(image.convert("RGB" if opaque else "RGBA")))


def by_tifffile(path, size, number):
    """RGB of a page, or of the first of this size, and whether it is compressed with loss; None: other samples."""
    with tifffile.TiffFile(io.BytesIO(path.read_bytes())) as tif:
        # A chain of pages may be a circle.
        pages = itertools.islice(tif.pages, (number or 1) - 1, number or (PAGES if size else 1))
        page = next(page for page in pages if size in (None, (page.imagewidth, page.imagelength)))
        if page.imagewidth * page.imagelength > LARGEST:
            return None
        data = page.asarray()
        if page.planarconfig == 2 and data.ndim == 3:
            data = np.moveaxis(data, 0, -1)
        if data.ndim != 3 or data.shape[-1] not in (3, 4) or data.dtype != np.uint8 or page.photometric not in (2, 6):
            return None
        kind = page.extrasamples[0] if page.extrasamples else 0
        if kind == 1:
            opacity = np.maximum(data[..., 3:], 1).astype(np.float32)
            data[..., :3] = np.minimum(data[..., :3] * (255 / opacity) + 0.5, 255)
        return flattened(data if kind in (1, 2) else data[..., :3]), page.compression in (6, 7) or kind == 1


def alike(found, oracle):
    """Whether pixels are another decoder's, and by how much they are not."""
    gap = difference(found, oracle.rgb)
    if gap is None:
        return False, f"{oracle.name}: another size"
    # libjpeg enlarges chroma otherwise where there are at most two samples of it in a row: then lightness alone counts.
    if not oracle.exact and min(found.shape[:2]) <= 4:
        weights = np.array([0.299, 0.587, 0.114])
        return np.abs(found @ weights - oracle.rgb @ weights).mean() <= 6, f"{oracle.name}: other lightness"
    said = f"{oracle.name}: largest {gap[0]}, mean {gap[1]:.2f}, 99.9 % within {gap[2]:.0f}"
    return fits(gap, not oracle.exact), said


def judged(path, answer):
    """The outcome of a file."""
    if isinstance(answer, str):
        return Picture("lost", answer)
    if answer.error is not None:
        return refused(answer.error, oracles(path))
    info = answer.info
    found = np.frombuffer(answer.rgb, np.uint8).reshape(info["height"], info["width"], 3)
    image = int(info["image"].split()[1]) if info.get("image") else None
    others = oracles(path, (info["width"], info["height"]), image)
    compared = [alike(found, oracle) for oracle in others]
    if any(same for same, _ in compared):
        return Picture("same", "")
    if not compared:
        return Picture("alone", f"{info['width']} x {info['height']}, {info['kind']}")
    certain = any(oracle.strict for oracle in others)
    return Picture("differs" if certain else "guessed", "; ".join(said for _, said in compared))


def refused(error, others):
    if "\n" in error or len(error) > LONGEST:
        return Picture("lost", f"not one sentence: {error}")
    strict = [oracle.name for oracle in others if oracle.strict]
    named_damaged = any(word in error for word in ("damaged", "truncated", "Copy "))
    if strict and named_damaged and EARLY not in error:
        return Picture("damaged", f"{strict[0]} reads it: {error}")
    return Picture("refused" if others else "unread", error)


def quiet():
    """C libraries of other decoders write what they think of a file to the standard error; Python's own words stay."""
    sys.stderr = os.fdopen(os.dup(2), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
