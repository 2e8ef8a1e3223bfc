"""Prints the constants that crates/analysis/src/scanners/robust.rs is tested against, and holds its estimator beside
scikit-learn's MinCovDet: python tools/goldens/robust.py. Needs numpy and scikit-learn."""
import numpy as np
from sklearn.covariance import MinCovDet, ledoit_wolf

HALF, STEPS = 0.75, 12


def nearest(distances):
    count = max(int(np.ceil(len(distances) * HALF)), 2)
    return np.sort(np.lexsort((np.arange(len(distances)), distances))[:count])


def mahalanobis(rows, covariance):
    return np.sqrt(np.einsum("ij,ij->i", rows, np.linalg.solve(covariance, rows.T).T)), np.linalg.slogdet(covariance)[1]


def concentrated(rows, distances):
    chosen = nearest(distances)
    for _ in range(STEPS):
        covariance, _ = ledoit_wolf(rows[chosen], assume_centered=True)
        distances, volume = mahalanobis(rows, covariance)
        before, chosen = chosen, nearest(distances)
        if np.array_equal(before, chosen):
            break
    return volume, covariance


def distances(rows):
    scale = np.median(np.abs(rows), axis=0)
    starts = [np.linalg.norm(rows, axis=1), np.linalg.norm(rows / scale, axis=1)]
    _, covariance = min((concentrated(rows, start) for start in starts), key=lambda found: found[0])
    return mahalanobis(rows, covariance)[0]


def spatial_median(rows):
    centre = np.median(rows, axis=0)
    for _ in range(2000):
        weight = 1 / np.maximum(np.linalg.norm(rows - centre, axis=1), 1e-12)
        centre = (weight[:, None] * rows).sum(0) / weight.sum()
    return centre


def beside_scikit_learn():
    """The rows that both count as far, where a tenth is strange: on random rows, at the three quarters of the search."""
    random = np.random.default_rng(1)
    for d in (3, 10, 30):
        rows = random.normal(size=(600, d)) @ np.diag(np.linspace(0.5, 3, d))
        rows[540:, :2] += 12
        own = distances(rows)
        peer = np.sqrt(MinCovDet(assume_centered=True, support_fraction=HALF, random_state=0).fit(rows).mahalanobis(rows))
        rank = np.corrcoef(own[:540], peer[:540])[0, 1]
        print(f"d = {d}: r of distances {rank:.3f}; nearest strange row over farthest other: own "
              f"{own[540:].min() / own[:540].max():.2f}, MinCovDet {peer[540:].min() / peer[:540].max():.2f}")


if __name__ == "__main__":
    r, c = np.arange(24)[:, None], np.arange(3)[None]
    rows = np.sin((r * 7 + c * 3) * 1.7) + 0.3 * np.cos(r * (c + 2) * 0.9) + 6.0 * (r >= 21)
    print("distances", [float(v) for v in distances(rows)])
    print("spatial median", [float(v) for v in spatial_median(rows)])
    beside_scikit_learn()
