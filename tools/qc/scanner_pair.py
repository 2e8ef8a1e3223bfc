"""A real scanner pair: OS-2, one field by a Hamamatsu and an Olympus scanner, 16 registered places of 112 um.

    python tools/qc/scanner_pair.py tiles --out pair.safetensors
    coverslip bundle run BUNDLE --tiles pair.safetensors --out pair-run.safetensors
    python tools/qc/scanner_pair.py judge --run pair-run.safetensors [--embeddings PREFIX]

Judges every place by a geometry fitted on the other places (leave-location-out), in NumPy and scikit-learn: an oracle of
crates/analysis/src/scanners and crates/profile/src. With --embeddings it also writes PREFIX-hamamatsu and PREFIX-olympus as
embedding files for `coverslip analyze scanners PREFIX-*.safetensors --group place --pair place`.
Needs numpy, scipy, scikit-learn, pillow, tifffile, safetensors.
"""
import argparse
import csv

import numpy as np
import tifffile
from PIL import Image
from safetensors.numpy import load_file, save_file
from scipy.stats import rankdata
from sklearn.covariance import ledoit_wolf

import corpus

GRID, SIDE = 4, 224
FILES = [("OS-2-ndpi", 0.2271), ("OS-2-vsi", 0.3457)]
NAMES = ["hamamatsu", "olympus"]


def field(name, mpp):
    """The field at 0.5 um/px, both scanners at one size."""
    rgb = tifffile.imread(corpus.ROOT / f"scanner_pair/{name}.ome.tif")
    return np.asarray(Image.fromarray(rgb).resize((1000, 1000), Image.Resampling.BICUBIC))


def cut(rgb):
    starts = np.linspace(0, 1000 - SIDE, GRID).round().astype(int)
    return np.stack([rgb[y:y + SIDE, x:x + SIDE] for y in starts for x in starts])


def scrambled(rgb, seed):
    """The tile's own colours in the texture of its power spectrum: phases are random, then pixels go by luminance."""
    random = np.random.default_rng(seed)
    grey = rgb.astype(float).mean(2)
    noise = np.fft.fft2(random.normal(size=grey.shape))
    texture = np.fft.ifft2(np.abs(np.fft.fft2(grey - grey.mean())) * noise / np.abs(noise)).real
    out = np.empty((grey.size, 3), np.uint8)
    out[np.argsort(texture.ravel(), kind="stable")] = rgb.reshape(-1, 3)[np.argsort(grey.ravel(), kind="stable")]
    return out.reshape(rgb.shape)


def auroc(high, low):
    ranks = rankdata(np.r_[high, low])
    return (ranks[:len(high)].sum() - len(high) * (len(high) + 1) / 2) / (len(high) * len(low))


class Geometry:
    """Means, whitening (full rank), scanner subspace: of rows and their scanner, 0 or 1."""

    def __init__(self, rows, scanner):
        self.means = np.stack([rows[scanner == s].mean(0) for s in (0, 1)])
        residual = rows - self.means[scanner]
        covariance, _ = ledoit_wolf(residual, assume_centered=True)
        values, vectors = np.linalg.eigh(covariance)
        self.white = (vectors / np.sqrt(values)) @ vectors.T
        direction = self.white @ (self.means[1] - self.means[0])
        self.direction = direction / np.linalg.norm(direction)

    def judge(self, rows, scanner):
        """(inside the scanner subspace, outside) of displacements from a scanner's mean."""
        z = (rows - self.means[scanner]) @ self.white
        inside = np.abs(z @ self.direction)
        return inside, np.sqrt(np.maximum((z * z).sum(1) - inside ** 2, 0))


def leave_place_out(first, second, extra, own):
    """Scores of the own scanner's tiles, the other's and of `extra`, each place judged without itself."""
    n = len(first)
    found = np.zeros((3, 2, n))
    for place in range(n):
        rest = np.arange(n) != place
        rows, scanner = np.r_[first[rest], second[rest]], np.repeat([0, 1], n - 1)
        geometry = Geometry(rows, scanner)
        for i, tile in enumerate([(first, second)[own], (second, first)[own], extra]):
            found[i, :, place] = [float(v[0]) for v in geometry.judge(tile[place:place + 1], own)]
    return found


def permutation(first, second, seen, own, count, seed):
    """Labels swapped at random within places, everything fitted again."""
    random = np.random.default_rng(seed)
    hits = 0
    for _ in range(count):
        swap = random.random(len(first)) < 0.5
        a, b = np.where(swap[:, None], second, first), np.where(swap[:, None], first, second)
        scores = leave_place_out(a, b, a, own)
        hits += auroc(scores[1, 0], scores[0, 0]) >= seen - 1e-12
    return (1 + hits) / (1 + count)


def retrieval(a, b):
    """How many of a find their mate among b, by cosine; a tie counts against it."""
    unit = lambda x: x / np.linalg.norm(x, axis=1, keepdims=True)
    similar = unit(a) @ unit(b).T
    own = np.diag(similar)
    return int(((similar >= own[:, None]).sum(1) == 1).sum())


def centred(a, b):
    """Each place less the mean of its scanner's other places, plus the mean of both."""
    n = len(a)
    others = lambda x: (x.sum(0) - x) / (n - 1)
    common = (others(a) + others(b)) / 2
    return a - others(a) + common, b - others(b) + common


def judge(args):
    run = load_file(args.run)
    taps = sorted(name for name in run if name.startswith("embedding_"))
    for tap in taps:
        rows = run[tap].astype(float)
        n = GRID * GRID
        first, second, extra = rows[:n], rows[n:2 * n], rows[2 * n:3 * n]
        print(f"{tap}, {rows.shape[1]} values")
        for own in (0, 1):
            scramble = extra if own == 0 else rows[3 * n:4 * n]
            found = leave_place_out(first, second, scramble, own)
            shift, novel = (auroc(found[1, i], found[0, i]) for i in (0, 1))
            p = permutation(first, second, shift, own, args.permutations, 1)
            texture = [auroc(found[2, i], found[0, i]) for i in (0, 1)]
            print(f"  profile of {NAMES[own]}: the other scanner SCANNER_SHIFT AUROC {shift:.3f} (p {p:.4f}), NOVEL {novel:.3f}; "
                  f"scrambled texture SCANNER_SHIFT {texture[0]:.3f}, NOVEL {texture[1]:.3f}")
        a, b = centred(first, second)
        print(f"  retrieval of {n}: raw {retrieval(first, second)} and {retrieval(second, first)}; centred on other places "
              f"{retrieval(a, b)} and {retrieval(b, a)}")
    if args.embeddings:
        for s, name in enumerate(NAMES):
            path = f"{args.embeddings}-{name}"
            save_file({tap: run[tap][s * n:(s + 1) * n].copy() for tap in taps}, path + ".safetensors")
            with open(path + ".csv", "w", newline="") as table:
                writer = csv.writer(table)
                writer.writerow(["slide", "place", "scanner"])
                writer.writerows([["OS-2", place, name] for place in range(n)])


def tiles(args):
    both = [cut(field(*file)) for file in FILES]
    scrambles = [np.stack([scrambled(tile, i) for i, tile in enumerate(own)]) for own in both]
    save_file({"tiles": np.ascontiguousarray(np.concatenate(both + scrambles))}, args.out)


parser = argparse.ArgumentParser()
commands = parser.add_subparsers(required=True)
make = commands.add_parser("tiles")
make.add_argument("--out", required=True)
make.set_defaults(run_command=tiles)
look = commands.add_parser("judge")
look.add_argument("--run", required=True)
look.add_argument("--permutations", type=int, default=999)
look.add_argument("--embeddings")
look.set_defaults(run_command=judge)
arguments = parser.parse_args()
arguments.run_command(arguments)
