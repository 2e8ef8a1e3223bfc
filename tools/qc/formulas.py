"""The QC formulas of src/measure, written once more in NumPy float64: the oracle that the plugin is compared with."""
import numpy as np

BLOCK = 8
CLIPPED_FROM, BLACK_UP_TO = 254, 25
OVEREXPOSED_ABOVE, UNDEREXPOSED_ABOVE, UNDEREXPOSED_WHITE_BELOW = 0.20, 0.05, 128
BRIGHTER_THAN_WHITE = 0.01
FAINTEST = PALEST = 0.912
BACKGROUND_TISSUE_FRACTION = 0.05
OUT_OF_FOCUS_BELOW_DB, OUT_OF_FOCUS_WITH_PROFILE_BELOW_DB = -12.5, -11.8
TISSUE_BELOW, MIN_TISSUE, MARGIN = 0.93, 0.02, 10
FAINTEST_DETAIL, LEAST_CONTRAST, DENSE_BELOW, DENSE_CONTRAST = 0.01, (0.25, 1.0), 25.5, (24.0, 150.0)


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


def gradients(plane, step, rows, tissue):
    """The mean over tissue of x*x, y*y and x*y of the central differences of a plane, on every `rows`-th row."""
    x, y = (np.roll(plane, -step, axis) - np.roll(plane, step, axis) for axis in (1, 0))
    seen = tissue[MARGIN:-MARGIN:rows, MARGIN:-MARGIN]
    x, y = (d[MARGIN:-MARGIN:rows, MARGIN:-MARGIN][seen] for d in (x, y))
    return np.array([x * x, y * y, x * y]).mean(1)


def principal(tensor):
    """The energies along the two axes of a gradient tensor, the lesser first."""
    xx, yy, xy = tensor
    middle, half = (xx + yy) / 2, np.hypot((xx - yy) / 2, xy)
    return np.maximum([middle - half, middle + half], FAINTEST_DETAIL)


def focus(rgb):
    """Sharpness along the worst direction, and across 0, 45, 90 and 135 degrees: decibels; NaN without tissue."""
    three, five = np.array([1, 2, 1]) / 4, np.array([1, 4, 6, 4, 1]) / 16
    a = smooth(rgb[..., 1].astype(np.float64), three, 1)
    b = smooth(a, five, 1)
    c = smooth(b, five, 2)
    tissue = c < TISSUE_BELOW * c[MARGIN:-MARGIN:2, MARGIN:-MARGIN].max()
    coarse = tissue[MARGIN:-MARGIN:4, MARGIN:-MARGIN]
    if coarse.mean() < MIN_TISSUE:
        return np.full(5, np.nan)
    fine, middle, wide = gradients(a - b, 1, 2, tissue), gradients(b - c, 2, 4, tissue), gradients(c, 2, 4, tissue)
    if wide[0] + wide[1] == 0:
        return np.full(5, np.nan)
    dense = (c[MARGIN:-MARGIN:4, MARGIN:-MARGIN] < DENSE_BELOW)[coarse].mean()
    middle, wide = (principal(tensor) + least + dense * more
                    for tensor, least, more in zip((middle, wide), LEAST_CONTRAST, DENSE_CONTRAST))
    contrast = middle.prod() ** (1 / 3) * wide.prod() ** (1 / 6)
    xx, yy, xy = fine
    across = np.array([xx, (xx + yy) / 2 + xy, yy, (xx + yy) / 2 - xy])
    return 10 * np.log10(np.maximum(np.r_[principal(fine)[0], across], FAINTEST_DETAIL) / contrast)


def sharpness(rgb):
    """Decibels along the worst direction; NaN without tissue."""
    return focus(rgb)[0]


def octaves(rgb):
    """The measure of version 1.0, for comparison: fine detail over the next octave, in decibels, in no direction."""
    three, five = np.array([1, 2, 1]) / 4, np.array([1, 4, 6, 4, 1]) / 16
    a = smooth(rgb[..., 1].astype(np.float64), three, 1)
    b = smooth(a, five, 1)
    c = smooth(b, five, 2)
    a, b, c = (plane[8:-8, 8:-8] for plane in (a, b, c))
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


COLD, WARM, GREY, FARTHEST, FEWEST = 0.06, 0.10, 0.01, 50, 4
INK_RED, ORANGE, LEAST_INK, INSIDE = 0.15, 1.25, 0.02, -0.01
NO_EOSIN, STAINED, FEWEST_STAINED = 0.75, 0.06, 40


def outside_tissue(r, g, b, relative, area):
    """How far each block lies outside tissue's colours; red counts where enough of it is like ink."""
    warm = b - 0.4 * g - 0.8 * r - WARM
    red = (warm > 0) & (b < ORANGE * g)
    ink = red & (r < INK_RED * g)
    if area[ink].sum() < LEAST_INK * area.sum():
        ink[:] = False
    warm = np.where(red & ~ink, INSIDE, warm)
    return np.max([r - 0.9 * g - COLD, warm, relative.min(-1) - 0.75 * relative.max(-1) - GREY], axis=0)


def stain(rgb, white):
    """Mean and spread of tissue's optical density, how far the farthest blocks lie outside tissue's colours, and the
    share of the tile outside."""
    means, area = blocks(rgb)
    density = -np.log10(np.maximum(means, 1) / 255)
    tissue = (means < white * FAINTEST).any(-1) | (means.min(-1) < means.max(-1) * PALEST)
    r, g, b = density.T
    relative = np.maximum(density + np.log10(np.maximum(white, 1) / 255), 0)
    distance = outside_tissue(r, g, b, relative, area)
    count = min(max(len(distance) // FARTHEST, FEWEST), len(distance))
    nothing = np.full(3, np.nan)
    mean, spread = (density[tissue].mean(0), density[tissue].std(0)) if tissue.any() else (nothing, nothing)
    farthest = max(np.sort(distance)[-count:].mean(), without_eosin(relative[tissue]))
    return mean, spread, farthest, area[distance > 0].sum() / area.sum()


def without_eosin(relative):
    """By how much all stained blocks of tissue but one in ten take more red than eosin lets them."""
    red, green = relative[relative[:, 1] > STAINED, :2].T
    if len(red) < FEWEST_STAINED:
        return -np.inf
    return np.sort(red - NO_EOSIN * green)[len(red) // 10]


def banding(rgb):
    """(rows, columns, period): the highest line of the high-passed spectra in decibels."""
    sums = [rgb.sum((1, 2), dtype=np.float64), rgb.sum((0, 2), dtype=np.float64)]
    n = 1 << int(np.ceil(np.log2(max(map(len, sums)))))
    found = []
    for line in sums:
        change = np.diff(np.log(line + 1))
        window = 0.5 - 0.5 * np.cos(2 * np.pi * (np.arange(len(change)) + 0.5) / len(change))
        power = np.abs(np.fft.rfft((change - change.mean()) * window, n)) ** 2
        first = max(6 * n // len(line), 1)
        power = power[:n // 9 + 1]
        ratios = []
        for k in range(first, len(power)):
            around = [power[i] for i in range(max(first, k - 16), min(len(power), k + 17)) if abs(i - k) > 2]
            ratios.append((power[k] + 1e-8) / (np.mean(around) + 1e-8))
        found.append((10 * np.log10(max(ratios)), n / (first + int(np.argmax(ratios)))))
    return found[0][0], found[1][0], found[0][1] if found[0][0] > found[1][0] else found[1][1]
