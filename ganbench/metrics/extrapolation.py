"""FID at infinitely many samples, by extrapolation."""

from __future__ import annotations

from typing import Any

import numpy as np

from ganbench.metrics.frechet import frechet_distance
from ganbench.metrics.numerics.checks import positive_integer
from ganbench.metrics.numerics.feature_set import feature_sets, features_of
from ganbench.plugin import hookimpl
from ganbench.plugin.interfaces import Evidence, Metric, MetricError, NotApplicable

POINTS = 15
SEED = 2020


def frechet_distance_infinity(real: Any, fake: Any, points: int = POINTS, rng: int = SEED) -> float:
    """The Frechet distance without the bias of a finite number N of fakes.

    That bias falls as 1/N: two samples of one Gaussian have expected distance about
    ``(d + d (d + 1) / 4) (1/n + 1/N)``. A line is fitted through the distances of subsets of the fakes
    against 1/N; its value at 1/N = 0 is the score. Subset sizes are evenly spaced from half of the fakes
    to all of them: smaller ones leave the line (the bias has terms in 1/N^2, large for N near d).

    The share ``1/n`` of the real side remains: a generator as good as the data scores about
    ``(d + d (d + 1) / 4) / n``, not 0, so values for different numbers of real samples do not compare.

    Args:
        real: features ``(n, d)``, n >= 2.
        fake: features ``(m, d)``, m >= 2 (d + 1), so that every subset has a regular covariance.
        points: number of subsets, >= 2.
        rng: seed of the subsets.

    Returns:
        The intercept, in squared units of the features; below 0 by chance where the distance is small.

    Raises:
        MetricError: too few rows, different widths, or a value that is not finite.

    Source:
        Chong and Forsyth 2020, "Effectively Unbiased FID and Inception Score and where to find them".
    """
    one, two = feature_sets(real, fake, rows=(2, 4))
    m, positive = len(two), positive_integer(points, "points", least=2)
    if m < 2 * (two.width + 1):
        raise MetricError(f"fake needs at least 2 (d + 1) = {2 * (two.width + 1)} rows, not {m}")
    state = np.random.default_rng(rng)
    sizes = np.linspace(m / 2, m, positive).round().astype(int)
    distances = [frechet_distance(one, two.values[state.permutation(m)[:size]]) for size in sizes[:-1]]
    distances.append(frechet_distance(one, two))
    return float(np.polynomial.polynomial.polyfit(1.0 / sizes, distances, 1)[0])


class FrechetInfinity(Metric):
    """FID as it would be with infinitely many samples; the held-out real data stay as many as they are."""

    name = "fid_inf"
    label = "FID∞"
    direction = "min"
    floor = "draws"
    cost = "end"
    constants = {"points": POINTS, "smallest": "m/2", "seed": SEED}
    rows = (2, 4)
    requires = "2 (d + 1) samples"
    rows_per_feature = 2

    def __call__(self, evidence: Evidence) -> float:
        n, d = evidence.fake.features.shape
        if n < 2 * (d + 1):
            raise NotApplicable(f"{n} samples are too few to extrapolate the covariance of {d} features")
        return frechet_distance_infinity(features_of(evidence.real), features_of(evidence.fake))


@hookimpl
def ganbench_metrics() -> list[Metric]:
    return [FrechetInfinity()]
