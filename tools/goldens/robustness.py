"""Checks robustness figures against PyPI `croma` 1.0.1, and calibration against scikit-learn and NumPy.

Needs croma==1.0.1 (it brings numpy, pandas and scikit-learn), and safetensors for the second form:

    python tools/goldens/robustness.py > crates/analysis/tests/golden/robustness.json
    python tools/goldens/robustness.py DIR/scanners.json EMBEDDINGS.safetensors...

The first prints what crates/analysis/tests/robustness.rs is held against. The second computes the robustness index,
CRoMa and nIPD of real embeddings again, with croma's code, and prints the largest difference from what
`coverslip analyze scanners` wrote.
"""
import csv
import json
import logging
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from croma import CRoMa, RI, nipd
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)


def manifest(labels, centres, groups):
    rows = range(len(labels))
    return pd.DataFrame(
        {
            "sample_id": [str(r) for r in rows],
            "image_path": [str(r) for r in rows],
            "label": [str(v) for v in labels],
            "group_id": [str(v) for v in groups],
            "centre": [str(v) for v in centres],
        }
    )


def margin(features, table, m):
    found = CRoMa.compute(features, table, confounder_column="centre", m=m)
    return {"m": m, "median": found.value, "quantile": found.q_alpha, "tail": found.ltm_alpha, "fragile": found.f0}


def index(features, table, k):
    found = RI.compute(features, table, confounder_column="centre", k_candidates=[k])
    return {"k": k, "index": found.value, "support": found.support}


def calibration(odds, truth):
    p = 1 / (1 + np.exp(-odds))
    bins = np.minimum((p * 10).astype(int), 9)
    gaps = [abs((truth[bins == b] - p[bins == b]).sum()) for b in range(10)]
    slope = LogisticRegression(C=np.inf, tol=1e-12, max_iter=10_000).fit(odds[:, None], truth).coef_[0, 0]
    added = 0.0
    for _ in range(50):  # Newton
        q = 1 / (1 + np.exp(-(odds + added)))
        added -= (q - truth).sum() / (q * (1 - q)).sum()
    return {"error": sum(gaps) / len(odds), "slope": slope, "intercept": added, "auc": roc_auc_score(truth, odds)}


def golden():
    random = np.random.default_rng(17)
    n, d = 60, 6
    labels, centres = np.arange(n) % 3, np.arange(n) // 3 % 2
    groups = np.arange(n) // 6 * 2 + centres
    features = random.normal(size=(n, d)) + 0.9 * np.eye(d)[labels] + 0.6 * np.eye(d)[3 + centres]
    table = manifest(labels, centres, groups)
    accuracies = np.sort(random.uniform(0.55, 0.95, size=(6, 4)), axis=0)[::-1]
    v = np.array([0, 0.15, 0.4, 0.55, 0.8, 1.0])
    odds, truth = random.normal(size=80) * 2, None
    truth = random.uniform(size=80) < 1 / (1 + np.exp(-(0.6 * odds - 0.5)))
    probe = LogisticRegression(C=1 / 3.0, tol=1e-12, max_iter=10_000).fit(features, labels == 1)
    return {
        "features": features.tolist(),
        "labels": labels.tolist(),
        "centres": centres.tolist(),
        "groups": groups.tolist(),
        "margins": [margin(features, table, m) for m in (1, 3, 5)],
        "indices": [index(features, table, k) for k in (1, 5, 20)],
        "nipd": {"accuracies": accuracies.tolist(), "v": v.tolist(), "chance": 1 / 3, "value": nipd(accuracies, v, 1 / 3)},
        "odds": odds.tolist(),
        "truth": truth.tolist(),
        "calibration": calibration(odds, truth),
        "logistic": {"penalty": 3.0, "slopes": probe.coef_[0].tolist(), "intercept": float(probe.intercept_[0])},
    }


def check(findings, files):
    from safetensors.numpy import load_file

    found = json.loads(Path(findings).read_text())
    columns, rows = found["columns"], []
    for file in files:
        with Path(file).with_suffix(".csv").open() as table:
            rows += list(csv.DictReader(table))
    biology, scanner, group = ([row[columns[name]] for row in rows] for name in ("biology", "scanner", "group"))
    table = manifest(biology, scanner, group)
    worst = 0.0
    for tap in found["taps"]:
        features = np.concatenate([load_file(f)["embedding_" + tap["tap"]] for f in files]).astype(float)
        numbers = tap["versions"][0]["numbers"]
        ours, drop = numbers["margin"], numbers["average_performance_drop"]
        pairs = []
        if "undefined" not in numbers["robustness"]:
            theirs = index(features, table, found["settings"]["k"])
            pairs += [(numbers["robustness"][name], theirs[name]) for name in ("index", "support")]
        if "undefined" not in ours and ours["scored"] == ours["tiles"]:
            theirs = margin(features, table, ours["m"])
            pairs += [(ours[name], theirs[name]) for name in ("median", "quantile", "tail", "fragile")]
        elif "undefined" not in ours:
            print(f"{tap['tap']}: {ours['scored']} of {ours['tiles']} tiles have a margin; croma refuses such data")
        if "undefined" not in drop and isinstance(drop["degradation"], float):
            # Steps of few tiles may have the same association.
            steps = {}
            for v, accuracy in zip(drop["association"], drop["accuracy"]):
                steps.setdefault(round(v, 9), []).append(accuracy)
            column = [[np.mean(values)] for values in steps.values()]
            pairs.append((drop["degradation"], nipd(column, list(steps), drop["chance"])))
        difference = max(abs(a - b) for a, b in pairs) if pairs else float("nan")
        worst = max(worst, difference)
        print(f"{tap['tap']}: {len(pairs)} figures, largest difference {difference:.1e}")
    sys.exit(worst > 1e-9)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        check(sys.argv[1], sys.argv[2:])
    json.dump(golden(), sys.stdout)
