"""The sliced Wasserstein distance: sets of features compared along random directions."""

from __future__ import annotations

from typing import Any

import numpy as np

from ganbench.metrics.numerics.checks import feature_pair, positive_integer
from ganbench.plugin import hookimpl
from ganbench.plugin.interfaces import Evidence, Metric

PROJECTIONS = 512
SEED = 2020
BLOCK = 64
"""Directions at a time, which bounds memory."""


def directions(d: int, number: int, rng: int) -> np.ndarray:
    """At least ``number`` unit vectors ``(p, d)``: seeded random orthonormal bases, the same mean as independent ones.

    With whole bases the squared distance of the means is met exactly: it is the sum of its projections.
    Of a space with more dimensions than that, ``number`` orthonormal vectors.
    """
    rows = min(d, number)
    blocks = -(-number // rows)
    normal = np.random.default_rng(rng).standard_normal((blocks, d, rows))
    return np.linalg.qr(normal)[0].transpose(0, 2, 1).reshape(-1, d)


def wasserstein_squared(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Squared Wasserstein-2 distances on the line between the columns of sorted ``(n, p)`` and ``(m, p)``.

    The mean over u in [0, 1] of the squared difference of quantiles, which are steps of 1/n and 1/m.
    """
    n, m = len(x), len(y)
    if n == m:
        return np.square(x - y).mean(axis=0)
    ends = np.union1d(np.arange(1, n + 1) * m, np.arange(1, m + 1) * n)  # in units of 1 / (n m), exactly
    widths = np.diff(ends, prepend=0) / (n * m)
    return widths @ np.square(x[(ends - 1) // m] - y[(ends - 1) // n])


def sliced_wasserstein(real: Any, fake: Any, projections: int = PROJECTIONS, rng: int = SEED) -> float:
    """Squared sliced Wasserstein-2 distance: the mean over directions of ``W2^2`` of the projections.

    Distributions of one shape whose means differ by m have ``|m|^2 / d``. Samples of one distribution
    have more than 0, less the more there are.

    Args:
        real: features ``(n, d)``, n >= 1.
        fake: features ``(m, d)``, m >= 1.
        projections: number of directions at least.
        rng: seed of the directions.

    Returns:
        The distance, >= 0, in squared units of the features; 0 for a set against itself.

    Raises:
        MetricError: no rows, different widths, or a value that is not finite.

    Source:
        Bonneel, Rabin, Peyre and Pfister 2015, "Sliced and Radon Wasserstein Barycenters of Measures".
        Karras et al. 2018 take it of patches of a Laplacian pyramid: this is of features.
    """
    one, two = feature_pair(real, fake, rows=(1, 1))
    total, axes = 0.0, directions(one.shape[1], positive_integer(projections, "projections"), rng)
    for start in range(0, len(axes), BLOCK):
        x, y = (np.sort(side @ axes[start : start + BLOCK].T, axis=0) for side in (one, two))
        total += float(wasserstein_squared(x, y).sum())
    return total / len(axes)


class SlicedWasserstein(Metric):
    """How far the samples' features are from real ones: Wasserstein distance along random directions, the mean."""

    name = "sliced_wasserstein"
    label = "Sliced W2²"
    direction = "min"
    floor = "draws"
    cost = "end"
    constants = {"projections": PROJECTIONS, "seed": SEED}
    rows = (1, 1)
    biased_by = "number of samples"

    def __call__(self, evidence: Evidence) -> float:
        return sliced_wasserstein(evidence.real.features, evidence.fake.features)


@hookimpl
def ganbench_metrics() -> list[Metric]:
    return [SlicedWasserstein()]
