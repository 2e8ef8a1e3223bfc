"""Goldens of the statistics in `analysis/`: NumPy in float64, SciPy and scikit-learn on small random data with ties,
groups of different sizes and more features than rows. Writes crates/analysis/tests/golden/statistics.json.

    pip install numpy scipy scikit-learn
    python tools/goldens/analysis.py
"""

import json
from pathlib import Path

import numpy as np
import scipy
import sklearn
from scipy import stats
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge
from sklearn.model_selection import LeaveOneGroupOut

PENALTIES = [1e-3, 3.2e-3, 1e-2, 3.2e-2, 1e-1, 3.2e-1, 1e0, 3.2e0, 1e1, 3.2e1, 1e2, 3.2e2, 1e3]
rng = np.random.default_rng(20)


def rounded(array):
    """Inputs of few digits, so that the file is small and both sides read the same numbers."""
    return np.round(array, 3)


def data(n, p, t, groups):
    factor = rng.normal(size=(groups.max() + 1, 3))[groups] + 0.5 * rng.normal(size=(n, 3))
    x = rounded(factor @ rng.normal(size=(3, p)) + rng.normal(size=(n, p)))
    x[:, 0] = np.maximum(x[:, 0] - 0.8, 0)  # sparse, with ties
    y = np.round(np.exp(factor @ rng.normal(size=(3, t)) * 0.4 + 1.5))
    return x, y


def bca(x, y, groups, times, level=0.95):
    """SciPy's formula, on the replicates of stated resamples of whole groups."""
    n_groups = groups.max() + 1
    rows = [np.flatnonzero(groups == g) for g in range(n_groups)]

    def r(counts):
        taken = np.concatenate([np.tile(rows[g], c) for g, c in enumerate(counts) if c])
        return stats.pearsonr(x[taken], y[taken]).statistic

    replicates = np.array([r(counts) for counts in times])
    left_out = np.array([r([int(g != out) for g in range(n_groups)]) for out in range(n_groups)])
    estimate = stats.pearsonr(x, y).statistic
    percentile = ((replicates < estimate).sum() + (replicates <= estimate).sum()) / (2 * len(replicates))
    z0 = stats.norm.ppf(percentile)
    u = (n_groups - 1) * (left_out.mean() - left_out)
    a = 1 / 6 * (u**3).sum() / (u**2).sum() ** 1.5
    alpha = (1 - level) / 2
    ends = [stats.norm.cdf(z0 + (z0 + z) / (1 - a * (z0 + z))) for z in (stats.norm.ppf(alpha), stats.norm.ppf(1 - alpha))]
    return replicates, left_out, np.quantile(replicates, ends)


def step_down(x, y, groups, arrangements):
    """Westfall and Young over all arrangements of whole groups of equal size: exact adjusted p, written plainly."""
    rows = [np.flatnonzero(groups == g) for g in range(groups.max() + 1)]

    def table(dealt):
        return np.abs(np.corrcoef(x.T, dealt.T)[: x.shape[1], x.shape[1] :]).T.ravel()

    observed = table(y)
    order = np.argsort(-observed, kind="stable")
    exceeded = np.zeros(len(observed))
    for arrangement in arrangements:
        dealt = np.empty_like(y)
        for to, source in enumerate(arrangement):
            dealt[rows[to]] = y[rows[source]]
        permuted = table(dealt)[order]
        successive = np.maximum.accumulate(permuted[::-1])[::-1]
        exceeded += successive >= observed[order] - 1e-10
    p = np.maximum.accumulate(exceeded / len(arrangements))
    adjusted = np.empty_like(p)
    adjusted[order] = p
    return adjusted


def nested_ridge(x, y, groups):
    """scikit-learn's Ridge, leave one group out, λ by leave one group out inside."""
    predicted = np.zeros(len(y))
    for train, test in LeaveOneGroupOut().split(x, y, groups):
        xt, yt, gt = x[train], y[train], groups[train]
        unit = ((xt - xt.mean(0)) ** 2).sum() / len(xt)
        errors = []
        for penalty in PENALTIES:
            error = 0.0
            for a, b in LeaveOneGroupOut().split(xt, yt, gt):
                # The inner fits are centred on their own rows, the penalty is that of the outer rows.
                error += ((Ridge(alpha=penalty * unit).fit(xt[a], yt[a]).predict(xt[b]) - yt[b]) ** 2).sum()
            errors.append(error)
        best = PENALTIES[int(np.argmin(errors))]
        predicted[test] = Ridge(alpha=best * unit).fit(xt, yt).predict(x[test])
    return predicted


def best_feature(x, y, groups):
    predicted, chosen = np.zeros(len(y)), []
    for train, test in LeaveOneGroupOut().split(x, y, groups):
        r = np.array([stats.pearsonr(x[train, j], y[train]).statistic for j in range(x.shape[1])])
        j = int(np.argmax(np.abs(r)))
        slope, intercept = np.polyfit(x[train, j], y[train], 1)
        predicted[test] = intercept + slope * x[test, j]
        chosen.append(j)
    return predicted, chosen


def main():
    from itertools import permutations

    sizes = [4, 6, 3, 5, 4, 7, 2]
    groups = np.repeat(np.arange(len(sizes)), sizes)
    x, y = data(len(groups), 40, 2, groups)
    times = [rng.multinomial(len(sizes), [1 / len(sizes)] * len(sizes)).tolist() for _ in range(60)]
    replicates, left_out, ends = bca(x[:, 3], y[:, 0], groups, times)
    narrow = x[:, :5]
    pca_wide, pca_tall = PCA().fit(x), PCA().fit(narrow)
    equal = np.repeat(np.arange(5), 3)
    xe, ye = data(len(equal), 6, 2, equal)
    golden = {
        "versions": {"numpy": np.__version__, "scipy": scipy.__version__, "scikit-learn": sklearn.__version__},
        "groups": groups.tolist(),
        "x": x.tolist(),
        "y": y.tolist(),
        "pearson": [[stats.pearsonr(x[:, j], y[:, t]).statistic for t in range(2)] for j in range(40)],
        "spearman": [[stats.spearmanr(x[:, j], y[:, t]).statistic for t in range(2)] for j in range(40)],
        "ranks": stats.rankdata(x[:, 0]).tolist(),
        "bca": {"times": times, "replicates": replicates.tolist(), "left_out": left_out.tolist(), "ends": ends.tolist()},
        "ridge": {
            "wide": [nested_ridge(x, y[:, t], groups).tolist() for t in range(2)],
            "tall": [nested_ridge(narrow, y[:, t], groups).tolist() for t in range(2)],
        },
        "best": [dict(zip(("predicted", "chosen"), (p.tolist(), c))) for p, c in (best_feature(x, y[:, t], groups) for t in range(2))],
        "pca": {
            "wide": {"variances": pca_wide.explained_variance_[:6].tolist(), "magnitudes": np.abs(pca_wide.transform(x)[:, :6]).tolist()},
            "tall": {"variances": pca_tall.explained_variance_.tolist(), "magnitudes": np.abs(pca_tall.transform(narrow)).tolist()},
        },
        "max_t": {
            "groups": equal.tolist(),
            "x": xe.tolist(),
            "y": ye.tolist(),
            "adjusted": step_down(xe, ye, equal, list(permutations(range(5)))).tolist(),
        },
    }
    path = Path(__file__).parents[2] / "crates/analysis/tests/golden/statistics.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(golden, default=float)
    path.write_text(text + "\n")
    print(path, len(text), "bytes")


main()
