"""The e-processes of src/judge/alerts/wealth.rs and src/judge/history.rs in NumPy, for their tests: prints the martingales
after each unit."""
import numpy as np

EPSILONS = np.array([0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9])


def martingale(scores, most):
    wealth, values = np.zeros_like(EPSILONS), []
    for t, score in enumerate(scores, start=1):
        p = (1 + np.sum(np.asarray(scores[: t - 1]) > score)) / t
        wealth = (wealth + 1 / most) * EPSILONS * p ** (EPSILONS - 1)
        values.append(wealth.mean() + 1 - t / most)
    return values


def of_slides(calibration, slides, month=1000, at_once=0.5):
    """src/judge/history.rs: slides ranked among the calibration slides and each other; no ties."""
    wealth, known, values = np.full_like(EPSILONS, at_once), list(calibration), []
    for t, peak in enumerate(slides, start=1):
        p = (1 + np.sum(np.asarray(known) > peak)) / (len(known) + 1)
        wealth = (wealth + (1 - at_once) / month) * EPSILONS * p ** (EPSILONS - 1)
        known.append(peak)
        values.append(wealth.mean() + (1 - at_once) * (1 - t / month))
    return values


if __name__ == "__main__":
    print(*(repr(float(v)) for v in martingale([0.3, 0.1, 0.7, 0.2, 0.9, 1.5, 0.05, 2.0, 2.5, 3.0], 20)), sep=",\n")
    print()
    print(*(repr(float(v)) for v in of_slides([0.2, 0.4, 0.6, 0.8], [0.5, 0.9, 1.0, 0.1, 2.0, 3.0])), sep=",\n")
