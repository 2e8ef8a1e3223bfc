"""The QC formulas of src/intake, written once more in NumPy float64: the oracle that the plugin is compared with."""
import numpy as np

BLOCK = 8
CLIPPED_FROM, BLACK_UP_TO = 254, 25
OVEREXPOSED_ABOVE, UNDEREXPOSED_ABOVE, UNDEREXPOSED_WHITE_BELOW = 0.20, 0.05, 128
BRIGHTER_THAN_WHITE = 0.01
FAINTEST = PALEST = 0.912
BACKGROUND_TISSUE_FRACTION = 0.05
OUT_OF_FOCUS_BELOW_DB = -6.9
TISSUE_BELOW, MIN_TISSUE, MARGIN = 0.93, 0.02, 8


def blocks(rgb):
    """Mean colour and area of the blocks, edge blocks as they are."""
    h, w = rgb.shape[:2]
    rows, columns = np.arange(0, h, BLOCK), np.arange(0, w, BLOCK)
    sums = np.add.reduceat(np.add.reduceat(rgb.astype(np.float64), rows, axis=0), columns, axis=1)
    area = np.outer(np.diff(np.append(rows, h)), np.diff(np.append(columns, w)))
    return (sums / area[..., None]).reshape(-1, 3), area.ravel()


def exposure(rgb, uncovered=0):
    """(over, under, white point) of a tile."""
    brightest = rgb.max(-1)
    covered = max(brightest.size - uncovered, 1)
    over = max((brightest >= CLIPPED_FROM).sum() - uncovered, 0) / covered
    under = (brightest <= BLACK_UP_TO).sum() / covered
    means, area = blocks(rgb)
    above = uncovered + (area.sum() - uncovered) * BRIGHTER_THAN_WHITE
    white = []
    for channel in range(3):
        histogram = np.bincount(np.floor(means[:, channel]).astype(int), area, 256)
        from_top = np.cumsum(histogram[::-1])
        white.append(255 - int(np.argmax(from_top > above)) if from_top[-1] > above else 0)
    return over, under, np.array(white, float)


def is_over(over):
    return over > OVEREXPOSED_ABOVE


def is_under(under, white):
    return under > UNDEREXPOSED_ABOVE or white.max() < UNDEREXPOSED_WHITE_BELOW


def tissue_fraction(rgb, white, uncovered=0):
    means, area = blocks(rgb)
    absorbs = (means < white * FAINTEST).any(-1)
    coloured = means.min(-1) < means.max(-1) * PALEST
    return min(area[absorbs | coloured].sum() / max(area.sum() - uncovered, 1), 1.0)


def smooth(plane, taps, step):
    for axis in (0, 1):
        out = np.zeros_like(plane)
        half = len(taps) // 2
        for i, tap in enumerate(taps):
            out += tap * np.roll(plane, (i - half) * step, axis)
        plane = out
    return plane


def sharpness(rgb):
    """Decibels; NaN without tissue."""
    three, five = np.array([1, 2, 1]) / 4, np.array([1, 4, 6, 4, 1]) / 16
    a = smooth(rgb[..., 1].astype(np.float64), three, 1)
    b = smooth(a, five, 1)
    c = smooth(b, five, 2)
    a, b, c = (plane[MARGIN:-MARGIN, MARGIN:-MARGIN] for plane in (a, b, c))
    tissue = c < TISSUE_BELOW * c.max()
    coarse = ((b - c)[tissue] ** 2).sum()
    if tissue.mean() < MIN_TISSUE or coarse == 0:
        return np.nan
    return 10 * np.log10(((a - b)[tissue] ** 2).sum() / coarse)


def laplacian_variance(rgb):
    """The usual score, for comparison: variance of the 4-neighbour Laplacian of the luma, in decibels."""
    y = rgb @ np.array([0.299, 0.587, 0.114])
    laplace = 4 * y - sum(np.roll(y, s, a) for s in (1, -1) for a in (0, 1))
    return 10 * np.log10(laplace[1:-1, 1:-1].var() + 1e-6)
