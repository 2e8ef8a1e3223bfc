"""Scanner-like perturbations: float RGB in 0..255 in, the same out; and what is measured on a tile's stain."""
import io

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter, gaussian_laplace, maximum_filter

# Ruifrok and Johnston's optical densities of haematoxylin, eosin and what is left.
STAINS = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]], np.float32)
STAINS /= np.linalg.norm(STAINS, axis=1, keepdims=True)


def to_u8(x):
    return np.clip(x + 0.5, 0, 255).astype(np.uint8)


def density(x):
    return -np.log(np.clip(x, 1, 255) / 255)


def colour(x, matrix, gain):
    """Another stain or sensor: mixes the optical densities, then scales each channel."""
    return np.clip(255 * np.exp(-np.clip(density(x) @ matrix.T, 0, None)) * gain, 0, 255)


def restain(x, rng):
    """More or less of each stain, of a slightly other hue."""
    amount = density(x) @ np.linalg.inv(STAINS)
    hue = STAINS + rng.normal(0, 0.09, (3, 3)).astype(np.float32)
    hue /= np.linalg.norm(hue, axis=1, keepdims=True)
    od = (amount * rng.uniform(0.5, 1.7, 3).astype(np.float32)) @ hue
    return np.clip(255 * np.exp(-np.clip(od, 0, None)), 0, 255)


def gamma(x, g):
    return 255 * (x / 255) ** g


def blur(x, sigma):
    return gaussian_filter(x, (sigma, sigma, 0), mode="nearest")


def noise(x, sd, rng):
    return np.clip(x + rng.normal(0, sd, x.shape).astype(np.float32), 0, 255)


def jpeg(x, quality):
    buf = io.BytesIO()
    Image.fromarray(to_u8(x)).save(buf, "JPEG", quality=int(quality))
    return np.asarray(Image.open(buf)).astype(np.float32)


def augment(tile, rng):
    """What the student sees while training; one tile in five stays clean. The colours stay near enough that a
    clean tile's own colour still says something of the teacher, which is not blind to it."""
    if rng.random() < 0.2:
        return tile
    x = tile.astype(np.float32)
    if rng.random() < 0.6:
        m = np.eye(3) * rng.uniform(0.8, 1.25, 3) + rng.normal(0, 0.06, (3, 3))
        x = colour(x, m.astype(np.float32), rng.uniform(0.93, 1.05, 3).astype(np.float32))
    if rng.random() < 0.4:
        x = gamma(x, rng.uniform(0.7, 1.45))
    if rng.random() < 0.4:
        x = blur(x, rng.uniform(0.3, 2.0))
    if rng.random() < 0.35:
        x = noise(x, rng.uniform(2, 12), rng)
    if rng.random() < 0.4:
        x = jpeg(x, rng.integers(30, 90))
    return to_u8(x)


SCANNER_B = np.array([[0.85, 0.10, 0.00], [0.05, 1.15, 0.05], [0.00, 0.08, 0.95]], np.float32)
WARM = np.array([1.0, 0.96, 0.92], np.float32)


def perturbations():
    """Fixed perturbations for the evaluation, by name: f(tile u8, rng) -> tile u8."""
    def u8(f):
        return lambda t, r: to_u8(f(t.astype(np.float32), r))
    milder = (SCANNER_B + np.eye(3, dtype=np.float32)) / 2
    return {
        "colour": u8(lambda x, r: colour(x, SCANNER_B, WARM)),
        "gamma 1.35": u8(lambda x, r: gamma(x, 1.35)),
        "blur 1.5 px": u8(lambda x, r: blur(x, 1.5)),
        "noise 10": u8(lambda x, r: noise(x, 10, r)),
        "JPEG 35": u8(lambda x, r: jpeg(x, 35)),
        "all five, milder": u8(lambda x, r: jpeg(noise(blur(gamma(colour(x, milder, WARM), 1.2), 1.0), 5, r), 50)),
    }


def haematoxylin(tile):
    """Its optical density, per pixel."""
    return (density(tile.astype(np.float32)) @ np.linalg.inv(STAINS))[..., 0]


def stain_measures(tile):
    """Mean red, and the share of pixels with more haematoxylin than 0.35: what colour alone says of cellularity."""
    return float(tile[..., 0].mean()), float((haematoxylin(tile) > 0.35).mean())


def dark_spots(tile):
    """Nuclei by rule: maxima of the haematoxylin, seen through a blob filter of a nucleus' size at 0.5 um/px."""
    r = -gaussian_laplace(haematoxylin(tile), 4.0, mode="nearest") * 16
    return int(((r == maximum_filter(r, 9)) & (r > 0.15)).sum())
