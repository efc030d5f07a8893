"""FID: the Frechet distance between Gaussians fitted to two sets of features."""

from __future__ import annotations

from typing import Any

from ganbench.metrics.numerics.feature_set import feature_set, feature_sets, features_of
from ganbench.metrics.numerics.gaussian import gaussian_of, trace_of_root
from ganbench.metrics.numerics.threads import shared
from ganbench.plugin import hookimpl
from ganbench.plugin.interfaces import Evidence, Metric


def frechet_distance(real: Any, fake: Any) -> float:
    """Squared Frechet distance between Gaussians fitted to two sets of features.

    ``|m1 - m2|^2 + tr S1 + tr S2 - 2 tr (S1 S2)^(1/2)`` with unbiased covariances (ddof 1). With
    factors ``S1 = A'A`` and ``S2 = B'B`` the last trace is the sum of the singular values of
    ``A B'``: no matrix square root, nothing complex, no accuracy lost where S1 or S2 is singular.
    With many features they are square roots of eigenvalues of ``A S2 A'``, wherever a bound of the
    error shows that they are as good; of the smaller Gram matrix where there are fewer rows than features.

    Args:
        real: features ``(n, d)``, n >= 2.
        fake: features ``(m, d)``, m >= 2.

    Returns:
        The distance, >= 0, in squared units of the features; 0 for equal means and covariances.

    Raises:
        MetricError: fewer than 2 rows, different widths, or a value that is not finite.

    Source:
        Heusel et al. 2017, "GANs Trained by a Two Time-Scale Update Rule", equation 6;
        Dowson and Landau 1982, "The Frechet Distance between Multivariate Normal Distributions".
    """
    one, two = feature_sets(real, fake, rows=(2, 2))
    first, second = gaussian_of(one), gaussian_of(two)
    with shared():
        shift = first.mean - second.mean
        distance = float(shift.square().sum()) + (first.trace + second.trace) - 2.0 * trace_of_root(first, second)
    return max(distance, 0.0)  # below 0 by rounding alone


def trace_of_covariance(values: Any) -> float:
    """Trace of the unbiased covariance (ddof 1) of features ``(n, d)``, n >= 2.

    It is the Frechet distance of a constant at the mean, and so the natural unit of that distance.

    Raises:
        MetricError: fewer than 2 rows, or a value that is not finite.
    """
    with shared():
        return gaussian_of(feature_set(values, "features", rows=2)).trace


def of_evidence(evidence: Evidence) -> float:
    """FID of one evaluation, for ``Evidence.once``."""
    return frechet_distance(features_of(evidence.real), features_of(evidence.fake))


class FrechetInceptionDistance(Metric):
    """How far the samples' features are from those of held-out real data, as a distance between two Gaussians."""

    name = "fid"
    label = "FID"
    direction = "min"
    floor = "draws"
    constants = {"ddof": 1}
    rows = (2, 2)
    rows_per_feature = 2
    biased_by = "number of samples"

    def __call__(self, evidence: Evidence) -> float:
        return float(evidence.once(of_evidence))


@hookimpl
def ganbench_metrics() -> list[Metric]:
    return [FrechetInceptionDistance()]
