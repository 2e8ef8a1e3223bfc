"""Writes a BigTIFF or SVS of any size whose tiles all are the same few JPEGs, so that the file is small.

    drawn.py FILE WIDTH HEIGHT [SIDE]
"""

import struct
import sys

import imagecodecs
import numpy as np

path, width, height = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
side = int(sys.argv[4]) if len(sys.argv) > 4 else 256
rng = np.random.default_rng(0)
across, down = -(-width // side), -(-height // side)
jpegs = []
for kind in range(16):
    y, x = np.mgrid[0:side, 0:side]
    base = np.stack([210 + 20 * np.sin(x / (9 + kind)), 150 + 40 * np.cos(y / (7 + kind)), 190 + 10 * np.sin((x + y) / 13)], -1)
    pixels = np.clip(base + rng.normal(0, 8, base.shape), 0, 255).astype(np.uint8)
    jpegs.append(imagecodecs.jpeg8_encode(pixels, level=80, subsampling="420"))
text = f"Aperio Image Library v12\r\n{width}x{height} ({side}x{side}) JPEG/RGB Q=80|AppMag = 40|MPP = 0.25".encode() + b"\0"
with open(path, "wb") as file:
    file.write(b"II" + struct.pack("<HHHQ", 43, 8, 0, 0))
    places = []
    for jpeg in jpegs:
        places.append((file.tell(), len(jpeg)))
        file.write(jpeg)
    chosen = rng.integers(0, len(jpegs), across * down)
    lists = {}
    for tag, part in ((324, 0), (325, 1)):
        lists[tag] = file.tell()
        file.write(np.array([place[part] for place in places], "<u8")[chosen].tobytes())
    words = file.tell()
    file.write(text)
    file.write(bytes(-file.tell() % 8))
    bits = struct.unpack("<Q", struct.pack("<HHHH", 8, 8, 8, 0))[0]
    tags = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 3, bits), (259, 3, 1, 7), (262, 3, 1, 6), (270, 2, len(text), words), (277, 3, 1, 3),
            (284, 3, 1, 1), (322, 4, 1, side), (323, 4, 1, side), (324, 16, across * down, lists[324]), (325, 16, across * down, lists[325]),
            (530, 3, 2, 2 | 2 << 16)]
    start = file.tell()
    file.write(struct.pack("<Q", len(tags)) + b"".join(struct.pack("<HHQQ", *tag) for tag in tags) + struct.pack("<Q", 0))
    file.seek(8)
    file.write(struct.pack("<Q", start))
