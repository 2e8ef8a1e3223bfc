"""The e-process of src/judge/alerts/wealth.rs in NumPy, for its test: prints the martingale after each unit."""
import numpy as np

EPSILONS = np.array([0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9])


def martingale(scores, most):
    wealth, values = np.zeros_like(EPSILONS), []
    for t, score in enumerate(scores, start=1):
        p = (1 + np.sum(np.asarray(scores[: t - 1]) > score)) / t
        wealth = (wealth + 1 / most) * EPSILONS * p ** (EPSILONS - 1)
        values.append(wealth.mean() + 1 - t / most)
    return values


if __name__ == "__main__":
    print(*(repr(float(v)) for v in martingale([0.3, 0.1, 0.7, 0.2, 0.9, 1.5, 0.05, 2.0, 2.5, 3.0], 20)), sep=",\n")
