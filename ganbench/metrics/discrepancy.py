"""CMMD: the maximum mean discrepancy with a Gaussian kernel."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from ganbench.metrics.numerics.checks import feature_pair
from ganbench.metrics.numerics.rbf import mean_kernel, median_distance
from ganbench.plugin import hookimpl
from ganbench.plugin.interfaces import Evidence, Metric, MetricError

SCALE = 1000.0
CLIP_SIGMA = 10.0


def gaussian_mmd(real: Any, fake: Any, sigma: float | None = None, unit: bool = False) -> float:
    """How far two sets of features are apart in every respect that a Gaussian kernel of one width sees.

    ``1000 (mean k(x, x') + mean k(y, y') - 2 mean k(x, y))`` with ``k(a, b) = exp(-|a - b|^2 / (2 sigma^2))``, over
    all pairs, a row with itself included.

    Args:
        real: features ``(n, d)``, n >= 1, or 2 without ``sigma``.
        fake: features ``(m, d)``, m >= 1.
        sigma: the kernel's width; by default the median distance between real rows.
        unit: divide each row by its length first. The published values have ``sigma=10, unit=True`` on CLIP features.

    Returns:
        The squared discrepancy times 1000, >= 0; 0 for a set against itself.

    Raises:
        MetricError: too few rows, different widths, a value that is not finite, a ``sigma`` that is not above 0, real
            rows of which half are copies (no median), or a row of zeros with ``unit``.

    Source:
        Jayasumana et al. 2024, "Rethinking FID: Towards a Better Evaluation Metric for Image Generation", section 4;
        Gretton et al. 2012, "A Kernel Two-Sample Test", equation 5, and section 8 for the median.
    """
    one, two = feature_pair(real, fake, rows=(1 if sigma is not None else 2, 1))
    if unit:
        one, two = _unit(one, "real"), _unit(two, "fake")
    if sigma is None:
        sigma = median_distance(one, "real")
    if not (np.isfinite(sigma) and sigma > 0.0):
        raise MetricError(f"sigma must be a finite number above 0, not {sigma!r}")
    x, y = torch.from_numpy(one), torch.from_numpy(two)
    value = mean_kernel(x, x, sigma) + mean_kernel(y, y, sigma) - 2.0 * mean_kernel(x, y, sigma)
    return SCALE * max(value, 0.0)  # below 0 by rounding alone


def _unit(values: np.ndarray, name: str) -> np.ndarray:
    largest = np.abs(values).max(axis=1, keepdims=True)
    if not largest.all():
        raise MetricError(f"{name} holds a row of zeros (row {int(largest.argmin())}), which has no direction")
    scaled = values / largest  # so that no square overflows or vanishes
    return scaled / np.linalg.norm(scaled, axis=1, keepdims=True)


class GaussianDiscrepancy(Metric):
    """How far samples are from real ones by a Gaussian kernel; as published (sigma 10) on CLIP features."""

    name = "cmmd"
    label = "CMMD"
    direction = "min"
    cost = "end"
    constants = {"sigma": "CLIP: 10 on rows of length 1; else median distance of real rows", "scale": SCALE}
    rows = (2, 1)
    biased_by = "number of samples"

    def __call__(self, evidence: Evidence) -> float:
        clip = evidence.extractor is not None and evidence.extractor.name.startswith("clip-")
        sigma = CLIP_SIGMA if clip else None
        return gaussian_mmd(evidence.real.features, evidence.fake.features, sigma, unit=clip)


@hookimpl
def ganbench_metrics() -> list[Metric]:
    return [GaussianDiscrepancy()]
