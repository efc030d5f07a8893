"""Clipped Density and Clipped Coverage: fidelity and coverage that outliers do not move, on a scale from 0 to 1."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from ganbench.metrics.numerics.checks import feature_pair, positive_integer
from ganbench.metrics.numerics.distances import balls_holding, nearest
from ganbench.plugin import hookimpl
from ganbench.plugin.interfaces import Evidence, Metric

K = 5


def clipped_density(real: Any, fake: Any, k: int = K) -> float:
    """Share of samples that are as well surrounded by real ones as real samples are.

    A ball around each real sample reaches to its k-th nearest other, but no farther than the median of these radii,
    so that an outlier has no huge ball. A sample counts by ``min(1, b / k)``, b the closed balls that hold it, so that
    samples in a crowd do not make up for bad ones. The mean is divided by that of the real samples themselves, each
    without its own ball, and cut at 1.

    Args:
        real: features ``(n, d)``, n > k.
        fake: features ``(m, d)``, m >= 1.
        k: the neighbour that sets a radius.

    Returns:
        The score, in [0, 1]. A share s of bad samples among good ones lowers it to 1 - s.

    Raises:
        MetricError: too few rows, different widths, or a value that is not finite.

    Source:
        Salvy, Talbot and Thirion 2025, "Enhanced Generative Model Evaluation with Clipped Density and Coverage",
        section 4.
    """
    one, two = map(torch.from_numpy, feature_pair(real, fake, rows=(positive_integer(k, "k") + 1, 1)))
    own = torch.arange(len(one))
    radii = nearest(one, one, k, own=own)[0][:, -1]
    radii = radii.clamp(max=float(np.median(radii.numpy())))
    ideal = balls_holding(one, radii, one, own=own)
    found = balls_holding(one, radii, two)
    shares = [float((counts.double() / k).clamp(max=1.0).mean()) for counts in (found, ideal)]
    return min(shares[0] / shares[1], 1.0)


def expected_coverage(n: int, m: int, k: int) -> np.ndarray:
    """What the coverage before calibration is expected to be if 0, 1, ..., m samples are as good as the n real ones.

    The number J of j samples that fall in a ball which reaches to the k-th nearest of n - 1 others is beta-binomial
    (j, k, n - k); the expectation of ``min(J, k) / k``. Below k samples it is set to 0, as the authors do.
    """
    from scipy.special import betaln, gammaln

    good, inside = np.arange(k, m + 1)[:, None], np.arange(k)
    log_choices = gammaln(good + 1) - gammaln(inside + 1) - gammaln(good - inside + 1)
    chances = np.exp(log_choices + betaln(inside + k, good - inside + n - k) - betaln(k, n - k))
    return np.concatenate([np.zeros(min(k, m + 1)), 1.0 - chances @ (k - inside) / k])


def clipped_coverage(real: Any, fake: Any, k: int = K) -> float:
    """Share of the samples that would have to be good to cover the real data as these samples do.

    A real sample's open ball reaches to its k-th nearest other. It counts by ``min(1, b / k)``, b the samples in it.
    The mean is put on a scale that is linear in the share of good samples: the answer is the smallest share j / m for
    which ``expected_coverage`` reaches it (over m + 1 instead of m, as the authors have it).

    Args:
        real: features ``(n, d)``, n > k.
        fake: features ``(m, d)``, m >= k.
        k: the neighbour that sets a radius.

    Returns:
        The score, in [0, 1]. 0 where exact copies leave real samples balls of radius 0, which hold nothing.

    Raises:
        MetricError: too few rows, different widths, or a value that is not finite.

    Source:
        Salvy, Talbot and Thirion 2025, section 5.
    """
    positive_integer(k, "k")
    one, two = map(torch.from_numpy, feature_pair(real, fake, rows=(k + 1, k)))
    radii = nearest(one, one, k, own=torch.arange(len(one)))[0][:, -1]
    covered = float((nearest(one, two, k)[0] < radii[:, None]).double().mean())
    expected = expected_coverage(len(one), len(two), k)
    return float(np.searchsorted(expected, covered)) / len(expected)


class ClippedDensity(Metric):
    """Share of samples as well surrounded by real ones as real ones are; neither outliers nor crowds move it."""

    name = "clipped_density"
    label = "Clipped density"
    direction = "max"
    cost = "end"
    constants = {"k": K, "ball": "closed", "radius": "at most the median"}
    rows = (K + 1, 1)

    def __call__(self, evidence: Evidence) -> float:
        return clipped_density(evidence.real.features, evidence.fake.features)


class ClippedCoverage(Metric):
    """How well samples cover the real data, as the share of good samples that would do as well."""

    name = "clipped_coverage"
    label = "Clipped coverage"
    direction = "max"
    cost = "end"
    constants = {"k": K, "ball": "open"}
    rows = (K + 1, K)

    def __call__(self, evidence: Evidence) -> float:
        return clipped_coverage(evidence.real.features, evidence.fake.features)


@hookimpl
def ganbench_metrics() -> list[Metric]:
    return [ClippedDensity(), ClippedCoverage()]
