"""What light does on its way to the camera, simulated: defocus by Fourier optics, and a stage that moves.

Both are put on a sharp tile in linear light (sRGB's curve undone), so the tile's own optics come on top: what is called 2 um
is that and whatever the scanner was out of focus by itself. The picture is mirrored at its borders.
"""
import functools

import numpy as np

from corpus import MPP

PAD = 32


def linear(levels):
    v = levels / 255.0
    return np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4)


def encoded(light):
    v = np.clip(light, 0, 1)
    return 255 * np.where(v <= 0.0031308, v * 12.92, 1.055 * v ** (1 / 2.4) - 0.055)


@functools.cache
def defocus(um, aperture=0.75, wavelength=0.54, index=1.52, size=65, finer=5):
    """The incoherent point spread, in pixels of 0.5 um, of a circular pupil that is `um` out of focus in a mountant: the
    squared transform of the pupil with the phase 2 pi / wavelength * um * (sqrt(n^2 - s^2) - n), s the sine of the angle
    in air (Goodman, Introduction to Fourier Optics, ch. 6; no paraxial approximation)."""
    n = size * finer
    f = np.fft.fftfreq(n, MPP / finer) * wavelength
    s2 = f[:, None] ** 2 + f ** 2
    phase = 2 * np.pi / wavelength * um * (np.sqrt(np.maximum(index ** 2 - s2, 0)) - index)
    spread = np.abs(np.fft.fftshift(np.fft.ifft2((s2 <= aperture ** 2) * np.exp(1j * phase)))) ** 2
    # A pixel is `finer` samples wide, and the middle one of an odd number is its centre.
    pixels = spread.reshape(size, finer, size, finer).sum((1, 3))
    return pixels / pixels.sum()


@functools.cache
def smear(length, degrees, size=65):
    """A straight way of `length` px during the exposure, `degrees` from along a row towards down a column."""
    place = ((np.arange(20 * length) + 0.5) / (20 * length) - 0.5) * length
    x, y = (place * f(np.deg2rad(degrees)) + size // 2 for f in (np.cos, np.sin))
    left, up = np.floor(x).astype(int), np.floor(y).astype(int)
    pixels = np.zeros((size, size))
    for down in (0, 1):
        for right in (0, 1):
            np.add.at(pixels, (up + down, left + right), (1 - abs(y - up - down)) * (1 - abs(x - left - right)))
    return pixels / pixels.sum()


def through(rgb, pixels):
    """A tile, or one channel of it, through a point spread."""
    h, w = rgb.shape[:2]
    kernel = np.zeros((h + 2 * PAD, w + 2 * PAD))
    size = pixels.shape[0]
    kernel[:size, :size] = pixels
    kernel = np.fft.rfft2(np.roll(kernel, (-(size // 2), -(size // 2)), (0, 1)))
    out = np.empty(rgb.shape, np.uint8)
    for channel in np.ndindex(rgb.shape[2:]):
        plane = np.pad(linear(rgb[(..., *channel)].astype(np.float64)), PAD, mode="reflect")
        light = np.fft.irfft2(np.fft.rfft2(plane) * kernel, plane.shape)[PAD:-PAD, PAD:-PAD]
        out[(..., *channel)] = np.rint(encoded(light))
    return out
