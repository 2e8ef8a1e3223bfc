"""Writes slides of every kind that a lab may have: format x compression x organisation x photometric x planar x
predictor x bit depth, by tifffile, libvips, Pillow and ImageMagick. The pixels are drawn: no file of anybody's is here.

    corpus.py FOLDER
"""

import itertools
import json
import shutil
import subprocess
import sys
from pathlib import Path

import imagecodecs
import numpy as np
import pyvips
import tifffile
from PIL import Image

WIDTH, HEIGHT = 331, 215


def picture():
    """Smooth tissue with grains and an edge, so that every predictor and transform has something to do."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    wave = np.sin(x / 17) + np.cos(y / 11)
    rgb = np.stack([200 + 20 * wave, 140 + 30 * np.sin(x / 29 + y / 31), 180 - 25 * wave], -1)
    rgb += np.random.default_rng(1).normal(0, 4, rgb.shape)
    rgb[60:120, 100:230] = (90, 40, 130)
    return np.clip(rgb, 0, 255).astype(np.uint8)


class Corpus:
    def __init__(self, folder):
        self.folder, self.files, self.left_out = Path(folder), [], []
        self.folder.mkdir(parents=True)

    def add(self, name, write, **axes):
        """Calls `write` with the path; a writer that cannot do a combination leaves it out."""
        path = self.folder / name
        try:
            write(path)
        except Exception as error:  # noqa: BLE001: each library has its own
            path.unlink(missing_ok=True)
            self.left_out.append(f"{name}: {str(error).splitlines()[0] if str(error) else type(error).__name__}")
            return
        self.files.append({"name": name, **axes})


def by_tifffile(corpus, rgb):
    rgba = np.dstack([rgb, np.full(rgb.shape[:2], 255, np.uint8)])
    rgba[:40, :50] = 0
    deep = rgb.astype(np.uint16) * 257
    grey = rgb[..., 1]
    layouts = {"strip": {}, "rows16": {"rowsperstrip": 16}, "tile64": {"tile": (64, 64)}, "tile128x80": {"tile": (80, 128)}}
    compressions = [None, "lzw", "deflate", "adobe_deflate", "packbits", "jpeg", "zstd", "webp", "jpeg2000", "lzma", "lerc", "png"]
    pixels = {
        "rgb": (rgb, "rgb", None), "rgba": (rgba, "rgb", ["unassalpha"]), "rgbx": (rgba, "rgb", ["unspecified"]),
        "rgb16": (deep, "rgb", None), "grey": (grey, "minisblack", None), "float": (rgb.astype(np.float32) / 255, "rgb", None),
    }
    for compression, (layout, options), (kind, (data, photometric, extra)) in itertools.product(
        compressions, layouts.items(), pixels.items()
    ):
        for planar, predictor, order in itertools.product(["contig", "separate"], [False, True], "<>"):
            # The full product of the common ones, and one of each of the rest.
            common = kind == "rgb" and compression in (None, "lzw", "deflate", "adobe_deflate", "packbits", "jpeg")
            if not common and (order == ">" or predictor or layout in ("rows16", "tile128x80")):
                continue
            if predictor and compression not in ("lzw", "deflate", "adobe_deflate"):
                continue
            if planar == "separate" and (kind == "grey" or compression in ("webp", "jpeg2000", "png", "lerc")):
                continue
            if compression in ("lzma", "lerc", "png") and kind not in ("rgb", "rgb16"):
                continue
            stored = np.moveaxis(data, -1, 0) if planar == "separate" else data
            name = f"tifffile-{compression}-{layout}-{kind}-{planar}-{'diff' if predictor else 'plain'}-{'le' if order == '<' else 'be'}.tif"

            def write(path, stored=stored, photometric=photometric, extra=extra, predictor=predictor, planar=planar,
                      options=options, compression=compression, order=order):
                tifffile.imwrite(path, stored, photometric=photometric, planarconfig=None if stored.ndim == 2 else planar,
                                 compression=compression, predictor=predictor, extrasamples=extra, byteorder=order,
                                 resolution=(40000, 40000), resolutionunit=3, metadata=None, **options)

            corpus.add(name, write, writer="tifffile", format="TIFF", compression=str(compression), organisation=layout,
                       photometric=kind, planar=planar, predictor=predictor, bits=str(data.dtype))
    for subsampling, layout in itertools.product([(1, 1), (2, 1), (2, 2)], ["strip", "rows16", "tile64", "tile128x80"]):
        corpus.add(f"tifffile-jpeg-ycbcr-{subsampling[0]}{subsampling[1]}-{layout}.tif",
                   lambda path, s=subsampling, o=layouts[layout]: tifffile.imwrite(
                       path, rgb, photometric="ycbcr", compression="jpeg", compressionargs={"level": 92}, subsampling=s, metadata=None, **o),
                   writer="tifffile", format="TIFF", compression="jpeg", organisation=layout, photometric=f"ycbcr{subsampling}",
                   planar="contig", predictor=False, bits="uint8")
    for big, compression in itertools.product([True], [None, "lzw", "deflate", "jpeg"]):
        for layout, options in layouts.items():
            corpus.add(f"tifffile-big-{compression}-{layout}.tif",
                       lambda path, c=compression, o=options: tifffile.imwrite(path, rgb, photometric="rgb", bigtiff=True, compression=c, metadata=None, **o),
                       writer="tifffile", format="BigTIFF", compression=str(compression), organisation=layout, photometric="rgb",
                       planar="contig", predictor=False, bits="uint8")
    for compression, subifds in itertools.product([None, "lzw", "deflate", "jpeg"], [False, True]):
        def ome(path, compression=compression, subifds=subifds):
            with tifffile.TiffWriter(path, ome=True) as tif:
                options = {"photometric": "rgb", "compression": compression, "tile": (64, 64)}
                tif.write(rgb, subifds=2 if subifds else None, metadata={"axes": "YXS", "PhysicalSizeX": 0.25, "PhysicalSizeXUnit": "µm", "PhysicalSizeY": 0.25, "PhysicalSizeYUnit": "µm"}, **options)
                if subifds:
                    tif.write(rgb[::2, ::2], subfiletype=1, **options)
                    tif.write(rgb[::4, ::4], subfiletype=1, **options)
        corpus.add(f"tifffile-ome-{compression}-{'pyramid' if subifds else 'flat'}.ome.tif", ome, writer="tifffile", format="OME-TIFF",
                   compression=str(compression), organisation="tile64", photometric="rgb", planar="contig", predictor=False, bits="uint8")
    for compression in ["jpeg", "lzw", "jpeg2000"]:
        def svs(path, compression=compression):
            text = f"Aperio Image Library v12\r\n{WIDTH}x{HEIGHT} (64x64) JPEG/RGB Q=92|AppMag = 20|MPP = 0.4990"
            with tifffile.TiffWriter(path) as tif:
                tif.write(rgb, photometric="rgb", compression=compression, tile=(64, 64), description=text, metadata=None)
                tif.write(rgb[::3, ::3], photometric="rgb", compression="jpeg", rowsperstrip=16, description=text + "\r\n", metadata=None)
                tif.write(rgb[::2, ::2], photometric="rgb", compression=compression, tile=(64, 64), description=text, metadata=None)
                tif.write(np.tile(rgb, (2, 3, 1)), photometric="rgb", compression="jpeg", rowsperstrip=16, subfiletype=9,
                          description="Aperio Image Library v12\r\nmacro 993x430", metadata=None)
        corpus.add(f"tifffile-svs-{compression}.svs", svs, writer="tifffile", format="SVS", compression=compression, organisation="tile64",
                   photometric="rgb", planar="contig", predictor=False, bits="uint8")


def by_libvips(corpus, rgb):
    image = pyvips.Image.new_from_array(rgb).copy(interpretation="srgb", xres=4000, yres=4000)
    alpha = image.bandjoin((pyvips.Image.black(WIDTH, HEIGHT) + 255).cast("uchar"))
    kinds = {"rgb": image, "rgba": alpha, "grey": image.colourspace("b-w"), "rgb16": image.colourspace("rgb16"),
             "lab": image.colourspace("lab"), "cmyk": image.colourspace("cmyk")}
    compressions = ["none", "lzw", "deflate", "packbits", "jpeg", "zstd", "webp"]
    for compression, (kind, data), tile, pyramid, big in itertools.product(compressions, kinds.items(), [0, 64, 128], [False, True], [False, True]):
        if kind != "rgb" and (pyramid or big or tile == 128):
            continue
        if pyramid and tile == 0:
            continue
        predictors = ["none", "horizontal"] if compression in ("lzw", "deflate") and not big else ["none"]
        for predictor in predictors:
            organisation = f"tile{tile}" if tile else "strip"
            options = {"compression": compression, "pyramid": pyramid, "bigtiff": big, "predictor": predictor}
            if tile:
                options |= {"tile": True, "tile_width": tile, "tile_height": tile}
            name = f"libvips-{compression}-{organisation}-{kind}{'-pyramid' if pyramid else ''}{'-big' if big else ''}-{predictor}.tif"
            corpus.add(name, lambda path, d=data, o=options: d.tiffsave(str(path), **o), writer="libvips", format="BigTIFF" if big else "TIFF",
                       compression=compression, organisation=organisation, photometric=kind, planar="contig",
                       predictor=predictor == "horizontal", bits="uint16" if kind == "rgb16" else "uint8")
    for quality, subsample in itertools.product([50, 80, 95], ["on", "off"]):
        corpus.add(f"libvips-jpeg-q{quality}-{subsample}.tif",
                   lambda path, q=quality, s=subsample: image.tiffsave(str(path), compression="jpeg", Q=q, tile=True, tile_width=64, tile_height=64),
                   writer="libvips", format="TIFF", compression="jpeg", organisation="tile64", photometric="rgb", planar="contig", predictor=False, bits="uint8")


def pictures(corpus, rgb):
    def add(name, mode, **options):
        data = {"L": rgb[..., 1], "RGB": rgb, "I;16": rgb[..., 1].astype(np.uint16) * 257}.get(mode)
        image = Image.fromarray(data) if data is not None else Image.fromarray(rgb).convert(mode)
        if mode in ("RGBA", "LA"):
            mask = np.full(rgb.shape[:2], 255, np.uint8)
            mask[:40, :50] = 0
            image.putalpha(Image.fromarray(mask))
        kind = "PNG" if name.endswith("png") else "JPEG"
        corpus.add(name, lambda path: image.save(path, **options), writer="Pillow", format=kind, compression=kind.lower(), organisation="whole",
                   photometric=mode, planar="contig", predictor=False, bits="uint16" if mode == "I;16" else "uint8")

    for mode in ["L", "LA", "RGB", "RGBA", "P", "1", "I;16"]:
        for level in [1, 9]:
            add(f"pillow-{mode.replace(';', '')}-{level}.png", mode, compress_level=level)
    for mode, subsampling, progressive, restart in itertools.product(["RGB", "L"], [0, 1, 2], [False, True], [0, 1]):
        add(f"pillow-{mode}-{subsampling}-{'prog' if progressive else 'base'}-{restart}.jpg", mode, quality=92, subsampling=subsampling,
            progressive=progressive, restart_marker_rows=restart, optimize=bool(restart))
    add("pillow-cmyk.jpg", "CMYK", quality=92)
    corpus.add("imagecodecs-rgb.jpg", lambda path: path.write_bytes(imagecodecs.jpeg8_encode(rgb, level=92, colorspace="RGB", outcolorspace="RGB")),
               writer="imagecodecs", format="JPEG", compression="jpeg", organisation="whole", photometric="RGB", planar="contig", predictor=False, bits="uint8")


def is_imagemagick(program):
    if not Path(program).exists():
        return False
    said = subprocess.run([program, "-version"], capture_output=True, text=True)
    return said.returncode == 0 and said.stdout.startswith("Version: ImageMagick")


def by_imagemagick(corpus, rgb):
    places = [shutil.which("magick"), "/usr/bin/convert", shutil.which("convert")]
    convert = next((place for place in places if place and is_imagemagick(place)), None)
    if convert is None:
        print("left out: ImageMagick's files, there is no `magick` or `convert` here")
        return
    source = corpus.folder.parent / "imagemagick.ppm"
    Image.fromarray(rgb).save(source)
    compressions = ["None", "LZW", "Zip", "RLE", "JPEG", "ZSTD", "WebP"]
    extras = {"plain": [], "tile64": ["-define", "tiff:tile-geometry=64x64"], "planes": ["-interlace", "plane"], "rows7": ["-define", "tiff:rows-per-strip=7"],
              "msb": ["-endian", "MSB"], "fill": ["-define", "tiff:fill-order=lsb"], "predictor": ["-define", "tiff:predictor=2"],
              "grey": ["-colorspace", "Gray"], "deep": ["-depth", "16"], "alpha": ["-alpha", "on"], "cmyk": ["-colorspace", "CMYK"],
              "palette": ["-type", "Palette"]}
    for compression, (kind, options) in itertools.product(compressions, extras.items()):
        def write(path, compression=compression, options=options):
            run = subprocess.run([convert, source, *options, "-compress", compression, path], capture_output=True, text=True, timeout=60)
            if run.returncode or not path.exists():
                raise RuntimeError(run.stderr.strip() or "no file")
        corpus.add(f"magick-{compression}-{kind}.tif", write, writer="ImageMagick", format="TIFF", compression=compression.lower(), organisation=kind,
                   photometric=kind if kind in ("grey", "cmyk", "palette", "alpha") else "rgb", planar="separate" if kind == "planes" else "contig",
                   predictor=kind == "predictor", bits="uint16" if kind == "deep" else "uint8")


def main():
    corpus = Corpus(sys.argv[1])
    rgb = picture()
    by_tifffile(corpus, rgb)
    by_libvips(corpus, rgb)
    pictures(corpus, rgb)
    by_imagemagick(corpus, rgb)
    (corpus.folder.parent / "corpus.json").write_text(json.dumps({"files": corpus.files, "left_out": corpus.left_out}))
    print(f"{len(corpus.files)} files; {len(corpus.left_out)} combinations that their writer refuses")


if __name__ == "__main__":
    main()
