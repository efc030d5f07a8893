"""PRD: precision and recall of how samples and real data spread over clusters."""

from __future__ import annotations

from typing import Any

import numpy as np

from ganbench.metrics.numerics.checks import feature_pair, numbers, positive_integer
from ganbench.metrics.samples import equal_numbers
from ganbench.plugin import hookimpl
from ganbench.plugin.interfaces import Evidence, Metric, MetricError

CLUSTERS = 20
RUNS = 10
ANGLES = 1001
BETA = 8.0
SEED = 2020


def prd_curve(real: Any, fake: Any, angles: int = ANGLES) -> tuple[np.ndarray, np.ndarray]:
    """Precisions ``alpha(l) = sum min(l P, Q)`` and recalls ``beta(l) = sum min(P, Q / l)`` of two distributions.

    Args:
        real: P, probabilities ``(bins,)``; scaled to sum 1.
        fake: Q, the same.
        angles: of how many slopes ``l = tan(angle)``, evenly spaced in (0, pi/2).

    Raises:
        MetricError: different numbers of bins, a value below 0 or not finite, or no mass.

    Source:
        Sajjadi et al. 2018, "Assessing Generative Models via Precision and Recall".
    """
    p, q = (numbers(values, name, ndim=1) for values, name in ((real, "real"), (fake, "fake")))
    if p.shape != q.shape or min(p.min(), q.min()) < 0.0 or not (p.sum() > 0.0 and q.sum() > 0.0):
        raise MetricError("real and fake must be probabilities of the same bins")
    slopes = np.tan(np.linspace(0.0, np.pi / 2, positive_integer(angles, "angles") + 2)[1:-1])
    precision = np.minimum(slopes[:, None] * (p / p.sum()), q / q.sum()).sum(axis=1)
    return precision, precision / slopes


def best_f(precision: np.ndarray, recall: np.ndarray, beta: float) -> float:
    """Largest ``(1 + b^2) p r / (b^2 p + r)`` on a curve; b above 1 weighs recall, below 1 precision."""
    scale = np.maximum(beta**2 * precision + recall, np.finfo(float).tiny)
    return float(((1.0 + beta**2) * precision * recall / scale).max())


def prd_scores(real: Any, fake: Any, clusters: int = CLUSTERS, runs: int = RUNS, rng: int = SEED) -> dict[str, float]:
    """Precision and recall of the samples' distribution over clusters of the joint features.

    Mini-batch k-means cuts both sets together into clusters; the two histograms over them give a curve,
    which is averaged over seeded runs. The larger set is drawn down to the size of the smaller.

    Args:
        real: features ``(n, d)``.
        fake: features ``(m, d)``; together both need a row for each cluster.
        clusters: k of k-means.
        runs: k-means runs.
        rng: seed of draws and runs.

    Returns:
        ``f8``, high where the samples reach everything real (recall); ``f_1_8``, high where they reach
        nothing else (precision); ``prd``, their balance F1; each in [0, 1], 1 for equal histograms.

    Raises:
        MetricError: too few rows, different widths, or a value that is not finite.

    Source:
        Sajjadi et al. 2018, "Assessing Generative Models via Precision and Recall": 20
        clusters, the average of several runs, F8 and F1/8.
    """
    from sklearn.cluster import MiniBatchKMeans

    one, two = feature_pair(real, fake, rows=(1, 1))
    state = np.random.default_rng(rng)
    one, two = equal_numbers(one, two, state)
    if len(one) + len(two) < positive_integer(clusters, "clusters"):
        raise MetricError(f"{clusters} clusters need at least as many rows together, not {len(one) + len(two)}")
    joint = np.concatenate([one, two])
    joint -= joint.mean(axis=0)
    joint /= np.abs(joint).max() or 1.0  # k-means is blind to both, and this way no square overflows
    curves = []
    for _ in range(positive_integer(runs, "runs")):
        seed = int(state.integers(2**31))
        found = MiniBatchKMeans(clusters, n_init=10, random_state=seed).fit(joint).labels_
        histograms = [np.bincount(part, minlength=clusters) for part in (found[: len(one)], found[len(one) :])]
        curves.append(prd_curve(histograms[0], histograms[1]))
    precision, recall = np.mean(curves, axis=0)
    return {
        "prd": best_f(precision, recall, 1.0),
        "f8": best_f(precision, recall, BETA),
        "f_1_8": best_f(precision, recall, 1.0 / BETA),
    }


class PrecisionRecallDistributions(Metric):
    """How alike samples and real data spread over clusters: F1 of precision and recall, with F8 and F1/8 beside it."""

    name = "prd"
    label = "PRD F1"
    direction = "max"
    floor = "draws"
    cost = "end"
    constants = {"clusters": CLUSTERS, "runs": RUNS, "angles": ANGLES, "beta": BETA, "seed": SEED}
    rows = (CLUSTERS // 2, CLUSTERS // 2)

    def __call__(self, evidence: Evidence) -> dict[str, float]:
        return prd_scores(evidence.real.features, evidence.fake.features)


@hookimpl
def ganbench_metrics() -> list[Metric]:
    return [PrecisionRecallDistributions()]
