"""The kernel distance of two sets of features (KID)."""

from __future__ import annotations

from typing import Any

import numpy as np

from ganbench.metrics.manifold import BALL_K, DENSITY_K
from ganbench.metrics.numerics.checks import positive_integer
from ganbench.metrics.numerics.feature_set import feature_sets, features_of
from ganbench.metrics.numerics.pair import pair_of
from ganbench.metrics.numerics.threads import shared
from ganbench.plugin import hookimpl
from ganbench.plugin.interfaces import Evidence, Metric

SUBSETS = 100
SUBSET_SIZE = 1000
SEED = 2020


def kernel_distance(
    real: Any,
    fake: Any,
    subsets: int = SUBSETS,
    subset_size: int = SUBSET_SIZE,
    rng: int | np.random.RandomState = SEED,
    *,
    balls: tuple[int, int] | None = None,
) -> tuple[float, float]:
    """Squared maximum mean discrepancy with the cubic kernel ``(x.y / d + 1)^3``, over random subsets.

    Each of ``subsets`` estimates takes ``min(subset_size, n, m)`` rows of each set, drawn without
    replacement by ``RandomState(rng).choice``, first from ``real``, then from ``fake``:
    torch-fidelity's draws for ``kid_features_to_metric(real, fake)``. Where a subset is the whole of
    both sets there is only one estimate; it is computed once and the deviation is 0.

    Args:
        real: features ``(n, d)``, n >= 2.
        fake: features ``(m, d)``, m >= 2.
        subsets: number of estimates, >= 1.
        subset_size: rows of each set in an estimate, >= 2.
        rng: a seed, or a RandomState, which is advanced.
        balls: k of precision and recall and of density and coverage, for a caller that asks ``manifold_scores`` of
            the same FeatureSets next: where both look at all pairs of rows, these are looked at once. The value
            that is returned is the same without.

    Returns:
        Mean and standard deviation (ddof 0) of the estimates. They are unbiased, so the mean is
        below 0 about as often as above for samples of one distribution.

    Raises:
        MetricError: fewer than 2 rows, different widths, or a value that is not finite.

    Source:
        Binkowski et al. 2018, "Demystifying MMD GANs", section 4; Gretton et al. 2012, "A Kernel
        Two-Sample Test", equation 3.
    """
    one, two = feature_sets(real, fake, rows=(2, 2))
    positive_integer(subsets, "subsets")
    size = min(positive_integer(subset_size, "subset_size", least=2), len(one), len(two))
    countable = balls if balls is not None and min(len(one), len(two)) > max(balls) else None
    with shared():
        estimates = pair_of(one, two).kernel_estimates(subsets, size, rng, countable)
    return float(np.mean(estimates)), float(np.std(estimates))


class KernelInceptionDistance(Metric):
    """How far the samples' features are from real ones, by a kernel distance that is unbiased however few they are."""

    name = "kid"
    label = "KID"
    direction = "min"
    floor = "draws"
    cost = "end"
    constants = {"subsets": SUBSETS, "subset_size": SUBSET_SIZE, "seed": SEED, "kernel": "(x.y/d+1)^3"}
    rows = (2, 2)

    def __call__(self, evidence: Evidence) -> float:
        return kernel_distance(features_of(evidence.real), features_of(evidence.fake), balls=(BALL_K, DENSITY_K))[0]


@hookimpl
def ganbench_metrics() -> list[Metric]:
    return [KernelInceptionDistance()]
