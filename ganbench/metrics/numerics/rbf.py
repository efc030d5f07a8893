"""The Gaussian kernel over all pairs of rows, block by block, and the distance that sets its width."""

from __future__ import annotations

import numpy as np
import torch

from ganbench.metrics.numerics.distances import direct_distances, screened
from ganbench.plugin.interfaces import MetricError

MEDIAN_ROWS = 1000
"""Rows, evenly spaced, whose pairs decide a median distance: more would not move it by a percent."""


def mean_kernel(points: torch.Tensor, others: torch.Tensor, sigma: float) -> float:
    """Mean of ``exp(-|x - y|^2 / (2 sigma^2))`` over all pairs of float64 ``(n, d)`` and ``(m, d)``."""
    # Distances are divided before they are squared away: sigma^2 may be too small, or too large, for a float.
    sums = [
        (squared[:, : len(others)].clamp_(min=0.0).sqrt_() / sigma).square_().mul_(-0.5).exp_().sum(dtype=torch.float64)
        for _, squared, _ in screened(points, others)
    ]
    return float(torch.stack(sums).sum()) / (len(points) * len(others))


def median_distance(values: np.ndarray, name: str) -> float:
    """Median distance between different rows of float64 ``(n, d)``.

    Raises:
        MetricError: it is 0, because more than half of the pairs are copies of each other, or there is one row only.
    """
    rows = values[np.linspace(0, len(values) - 1, min(len(values), MEDIAN_ROWS)).round().astype(int)]
    first, second = np.triu_indices(len(rows), 1)
    distances = direct_distances(torch.from_numpy(rows), torch.from_numpy(rows)).numpy()[first, second]
    median = float(np.median(distances)) if len(distances) else 0.0
    if median == 0.0:
        raise MetricError(
            f"{name} has no width for the kernel: the median distance between its {len(values)} rows is 0; "
            "it needs rows of which fewer than half are copies of each other"
        )
    return median
