"""The kernel distance of Binkowski et al. (KID)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from ganbench.kinds import Evidence, Metric
from ganbench.metrics._checks import feature_pair, positive_integer
from ganbench.plugin import hookimpl

SUBSETS = 100
SUBSET_SIZE = 1000
SEED = 2020


def _cubes(left: torch.Tensor, right: torch.Tensor, off_diagonal: bool = False) -> torch.Tensor:
    """Sum of the cubes of all inner products, or of those off the diagonal."""
    products = left @ right.T
    if off_diagonal:
        products.fill_diagonal_(0.0)
    flat = products.flatten()
    return torch.dot(flat.square(), flat)


def _unbiased_mmd(real: torch.Tensor, fake: torch.Tensor) -> float:
    """Unbiased squared MMD of ``(n, d)`` and ``(m, d)`` with the kernel (x.y / d + 1)^3."""
    n, m, d = len(real), len(fake), real.shape[1]

    def extended(values: torch.Tensor) -> torch.Tensor:
        # (x, sqrt d) / sqrt d: inner products are x.y / d + 1.
        return torch.cat([values / d**0.5, values.new_ones(len(values), 1)], dim=1)

    x, y = extended(real), extended(fake)
    within = _cubes(x, x, off_diagonal=True) / (n * (n - 1)) + _cubes(y, y, off_diagonal=True) / (m * (m - 1))
    return float(within - 2.0 * _cubes(x, y) / (n * m))


def kernel_distance(
    real: Any,
    fake: Any,
    subsets: int = SUBSETS,
    subset_size: int = SUBSET_SIZE,
    rng: int | np.random.RandomState = SEED,
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

    Returns:
        Mean and standard deviation (ddof 0) of the estimates. They are unbiased, so the mean is
        below 0 about as often as above for samples of one distribution.

    Raises:
        MetricError: fewer than 2 rows, different widths, or a value that is not finite.

    Source:
        Binkowski et al. 2018, "Demystifying MMD GANs", section 4; Gretton et al. 2012, "A Kernel
        Two-Sample Test", equation 3.
    """
    one, two = (torch.from_numpy(side) for side in feature_pair(real, fake, rows=(2, 2)))
    positive_integer(subsets, "subsets")
    size = min(positive_integer(subset_size, "subset_size", least=2), len(one), len(two))
    if size == len(one) == len(two):
        return _unbiased_mmd(one, two), 0.0
    draws = rng if isinstance(rng, np.random.RandomState) else np.random.RandomState(rng)
    estimates = []
    for _ in range(subsets):
        from_real = torch.from_numpy(draws.choice(len(one), size, replace=False))
        from_fake = torch.from_numpy(draws.choice(len(two), size, replace=False))
        estimates.append(_unbiased_mmd(one[from_real], two[from_fake]))
    return float(np.mean(estimates)), float(np.std(estimates))


class KernelInceptionDistance(Metric):
    """KID between the samples and the held-out real data. Its subsets are the same in every evaluation."""

    name = "kid"
    label = "KID"
    direction = "min"
    cost = "end"
    constants = {"subsets": SUBSETS, "subset_size": SUBSET_SIZE, "seed": SEED, "kernel": "(x.y/d+1)^3"}

    def __call__(self, evidence: Evidence) -> float:
        return kernel_distance(evidence.real.features, evidence.fake.features)[0]


@hookimpl
def ganbench_metrics() -> list[Metric]:
    return [KernelInceptionDistance()]
