"""How many different samples there are: the Vendi score and RKE."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from ganbench.metrics.numerics.checks import features
from ganbench.metrics.numerics.rbf import mean_kernel, median_distance
from ganbench.plugin import hookimpl
from ganbench.plugin.interfaces import Evidence, Metric, MetricError, NotApplicable, Side

WIDTH = 0.25
"""Of RKE's kernel, in median distances between real rows."""


def vendi_score(values: Any) -> float:
    """``exp(-sum_i l_i log l_i)`` with the eigenvalues l of ``K / n``, K the matrix of cosine similarities.

    An effective number of different samples: n for orthogonal ones, 1 for copies. K/n = X X' / n and
    X' X / n, with rows of length 1, have the same eigenvalues beside zeros; the smaller is used. Two
    rows of zeros, which have no direction, are alike to each other and to nothing else.

    Args:
        values: features ``(n, d)``, n >= 1.

    Returns:
        The score, in [1, min(n, d)] (d + 1 with rows of zeros). It grows with n: compare at equal n.

    Raises:
        MetricError: no rows, or a value that is not finite.

    Source:
        Friedman and Dieng 2023, "The Vendi Score: A Diversity Evaluation Metric for Machine Learning",
        with the cosine similarity that it takes of image embeddings.
    """
    x = features(values, "features", rows=1).astype(np.float64)
    largest = np.abs(x).max(axis=1, keepdims=True)
    x = x / np.where(largest > 0.0, largest, 1.0)  # so that no square overflows or vanishes
    x = np.concatenate([x, largest == 0.0], axis=1)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    matrix = x @ x.T if len(x) < x.shape[1] else x.T @ x
    eigenvalues = np.linalg.eigvalsh(matrix) / len(x)
    positive = eigenvalues[eigenvalues > 0.0]
    return float(np.exp(-np.sum(positive * np.log(positive))))


def rke_score(values: Any, sigma: float) -> float:
    """``1 / mean over all pairs of k(x, x')^2`` with the Gaussian kernel ``k = exp(-|x - x'|^2 / (2 sigma^2))``.

    An effective number of modes: the exponential of the Renyi entropy of order 2 of K / n, n for rows far apart
    against ``sigma`` and 1 for copies; m equal groups, each narrow and far from the others, have m.

    Args:
        values: features ``(n, d)``, n >= 1.
        sigma: the kernel's width: rows much nearer than that are alike.

    Returns:
        The score, in [1, n].

    Raises:
        MetricError: no rows, a value that is not finite, or a ``sigma`` that is not above 0.

    Source:
        Jalali, Li and Farnia 2023, "An Information-Theoretic Evaluation of Generative Models in Learning Multi-modal
        Distributions", section 4 (RKE-MC, its exponential).
    """
    x = torch.from_numpy(features(values, "features", rows=1).astype(np.float64))
    if not (np.isfinite(sigma) and sigma > 0.0):
        raise MetricError(f"sigma must be a finite number above 0, not {sigma!r}")
    return 1.0 / mean_kernel(x, x, sigma / np.sqrt(2.0))


class VendiScore(Metric):
    """How many different samples there are, as an effective number; compare with that of as many real images."""

    name = "vendi"
    label = "Vendi"
    direction = "max"
    cost = "end"
    constants = {"kernel": "cosine", "q": 1}
    rows = (0, 1)
    requires = "images"
    biased_by = "number of samples"

    def __call__(self, evidence: Evidence) -> float:
        if len(evidence.dataset.shape) == 1:
            raise NotApplicable("the cosine of points tells only their direction from the origin")
        return vendi_score(evidence.fake.features)


def _width(side: Side) -> float:
    return WIDTH * median_distance(features(side.features, "real", rows=2).astype(np.float64), "real")


class RenyiKernelEntropy(Metric):
    """How many modes the samples have, as an effective number; compare with that of as many real samples."""

    name = "rke"
    label = "RKE"
    direction = "max"
    cost = "end"
    constants = {"sigma": f"{WIDTH} of the median distance of real rows"}
    rows = (2, 1)

    def __call__(self, evidence: Evidence) -> float:
        return rke_score(evidence.fake.features, evidence.real.once(_width))


@hookimpl
def ganbench_metrics() -> list[Metric]:
    return [VendiScore(), RenyiKernelEntropy()]
