"""The Frechet distance of Gaussian fits (FID)."""

from __future__ import annotations

from typing import Any

import torch

from ganbench.kinds import Evidence, Metric
from ganbench.metrics._checks import feature_pair, features
from ganbench.plugin import hookimpl


def _centred(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The mean ``(d,)``, and ``(n, d)`` deviations from it over sqrt(n - 1): their Gram matrix is the covariance."""
    mean = values.mean(dim=0)
    mean = mean + (values - mean).mean(dim=0)  # what rounding left over, for features with a large common part
    return mean, (values - mean) / (len(values) - 1) ** 0.5


def _factor(deviations: torch.Tensor) -> torch.Tensor:
    """A factor A with A'A the covariance and at most d rows."""
    if len(deviations) <= deviations.shape[1]:
        return deviations
    return torch.linalg.qr(deviations, mode="r").R


def frechet_distance(real: Any, fake: Any) -> float:
    """Squared Frechet distance between Gaussians fitted to two sets of features.

    ``|m1 - m2|^2 + tr S1 + tr S2 - 2 tr (S1 S2)^(1/2)`` with unbiased covariances (ddof 1). With
    factors ``S1 = A'A`` and ``S2 = B'B`` the last trace is the sum of the singular values of
    ``A B'``: no matrix square root, nothing complex, no accuracy lost where S1 or S2 is singular.

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
    one, two = (torch.from_numpy(side) for side in feature_pair(real, fake, rows=(2, 2)))
    mean1, deviations1 = _centred(one)
    mean2, deviations2 = _centred(two)
    traces = deviations1.square().sum() + deviations2.square().sum()
    product = _factor(deviations1) @ _factor(deviations2).T
    distance = (mean1 - mean2).square().sum() + traces - 2.0 * torch.linalg.svdvals(product).sum()
    return max(float(distance), 0.0)  # below 0 by rounding alone


def trace_of_covariance(values: Any) -> float:
    """Trace of the unbiased covariance (ddof 1) of features ``(n, d)``, n >= 2.

    It is the Frechet distance of a constant at the mean, and so the natural unit of that distance.

    Raises:
        MetricError: fewer than 2 rows, or a value that is not finite.
    """
    _, deviations = _centred(torch.from_numpy(features(values, "features", rows=2)))
    return float(deviations.square().sum())


class FrechetInceptionDistance(Metric):
    """FID between the samples and the held-out real data."""

    name = "fid"
    label = "FID"
    direction = "min"
    constants = {"ddof": 1}

    def __call__(self, evidence: Evidence) -> float:
        return frechet_distance(evidence.real.features, evidence.fake.features)


@hookimpl
def ganbench_metrics() -> list[Metric]:
    return [FrechetInceptionDistance()]
