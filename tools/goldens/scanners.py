"""Prints the constants that crates/analysis/src/scanners/ is tested against, from scikit-learn in float64.

Needs numpy and scikit-learn: python tools/goldens/scanners.py
"""
import numpy as np
from sklearn.covariance import ledoit_wolf
from sklearn.linear_model import RidgeClassifier
from sklearn.metrics import adjusted_rand_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

x = np.array([[1.0, 2.0, -0.5], [-2.0, 0.5, 1.0], [0.5, -3.0, 0.25], [0.5, 0.5, -0.75]])
covariance, shrinkage = ledoit_wolf(x, assume_centered=True)
print("ledoit_wolf", repr(float(shrinkage)), [float(v) for v in covariance.ravel()])

rows = np.array([[np.sin((r * 7 + c * 3) * 1.7) + (1.2 * (r % 3) if c == 0 else 0) for c in range(4)] for r in range(30)])
labels = np.arange(30) % 3
train = list(range(20)) + [21, 24]
scaler = StandardScaler().fit(rows[train])
ridge = RidgeClassifier(alpha=0.01 * len(train), class_weight="balanced").fit(scaler.transform(rows[train]), labels[train])
print("ridge", ridge.predict(scaler.transform(rows)).tolist())
scores = ridge.decision_function(scaler.transform(rows))
top = np.sort(scores, axis=1)
print("  smallest margin", (top[:, -1] - top[:, -2]).min())
nearest = KNeighborsClassifier(1, metric="cosine").fit(rows[train], labels[train])
print("nearest", nearest.predict(rows[20:]).tolist())
print("rand", adjusted_rand_score([0, 0, 1, 2], [0, 0, 1, 1]), adjusted_rand_score([0, 0, 1, 1], [0, 1, 0, 1]))
