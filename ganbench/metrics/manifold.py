"""Scores by nearest-neighbour balls: precision and recall, density and coverage."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from ganbench.kinds import Evidence, Metric
from ganbench.metrics._checks import feature_pair, positive_integer
from ganbench.metrics._distances import nearest, of_pairs, screened, where
from ganbench.plugin import hookimpl

BALL_K = 3
DENSITY_K = 5


def _radii(points: torch.Tensor, largest: int) -> torch.Tensor:
    """Distances ``(n, largest)`` from each point to its nearest others; copies of it count, itself does not."""
    return nearest(points, points, largest, own=torch.arange(len(points), device=points.device))[0]


def _scores(real: Any, fake: Any, ball_k: int | None, density_k: int | None) -> dict[str, float]:
    """Precision and recall where ``ball_k`` is given, density and coverage where ``density_k`` is, in one pass."""
    largest = max(positive_integer(k, "k") for k in (ball_k, density_k) if k is not None)
    x, y = map(torch.from_numpy, feature_pair(real, fake, rows=(largest + 1, (ball_k or 0) + 1)))
    radii = _radii(x, largest)
    fake_radii = None if ball_k is None else _radii(y, ball_k)[:, -1]
    held, recalled, covered = np.zeros(len(y), bool), np.zeros(len(x), bool), np.zeros(len(x), bool)
    hits = 0
    for rows, squared, bound in screened(x, y):
        points = x[rows]
        if density_k is not None:
            inside = _in_balls(points, y, squared, radii[rows, density_k - 1], bound, operator.lt)
            hits += int(np.count_nonzero(inside))
            covered[rows] = inside.any(axis=1)
        if ball_k is not None and fake_radii is not None:
            held |= _in_balls(points, y, squared, radii[rows, ball_k - 1], bound, operator.le).any(axis=0)
            recalled[rows] = _in_any_ball(points, y, squared, fake_radii, bound)
    scores: dict[str, float] = {}
    if ball_k is not None:
        scores |= {"precision": float(held.mean()), "recall": float(recalled.mean())}
    if density_k is not None:
        scores |= {"density": hits / (density_k * len(y)), "coverage": float(covered.mean())}
    return scores


def _in_balls(
    points: torch.Tensor,
    others: torch.Tensor,
    squared: torch.Tensor,
    radii: torch.Tensor,
    bound: torch.Tensor,
    compare: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
) -> np.ndarray:
    """Which of the others ``(points, others)`` are in each point's ball; ``squared`` is right within ``bound``."""
    limit = radii[:, None].square()
    inside = squared.numpy() < (limit - bound).numpy()
    row, column = where(inside != (squared.numpy() <= (limit + bound).numpy()))
    inside[row, column] = compare(of_pairs(points, others, row, column), radii[row])
    return inside


def _in_any_ball(
    points: torch.Tensor, others: torch.Tensor, squared: torch.Tensor, radii: torch.Tensor, bound: torch.Tensor
) -> np.ndarray:
    """Which points ``(n,)`` are in the closed ball of at least one of the others."""
    gap = squared - radii.square()
    lowest, bound = gap.amin(dim=1), bound[:, 0]
    result = lowest < -bound
    near = (lowest.abs() <= bound).nonzero()[:, 0]
    which, column = where((gap[near] <= bound[near, None]).numpy())
    row = near[which]
    result[row[of_pairs(points, others, row, column) <= radii[column]]] = True
    return result.numpy()


def precision_recall(real: Any, fake: Any, k: int = BALL_K) -> dict[str, float]:
    """Share of fakes on the real manifold, and of real samples on the fakes' manifold.

    A set's manifold is the union of balls around its samples that reach to their k-th nearest other
    sample of the set. The balls are closed (``<=``), so that copies of a sample lie in its ball even
    where k copies make its radius 0. A set against itself scores 1 and 1.

    Args:
        real: features ``(n, d)``, n > k.
        fake: features ``(m, d)``, m > k.
        k: the neighbour that sets a radius; the sample itself is not counted, copies of it are.

    Returns:
        ``precision`` and ``recall``, each in [0, 1].

    Raises:
        MetricError: too few rows, different widths, or a value that is not finite.

    Source:
        Kynkaanniemi et al. 2019, "Improved Precision and Recall Metric for Assessing Generative
        Models", section 2, equations 1 and 2.
    """
    return _scores(real, fake, k, None)


def density_coverage(real: Any, fake: Any, k: int = DENSITY_K) -> dict[str, float]:
    """How many real balls hold a fake, on average over fakes, and which share of real balls holds one.

    A real sample's ball reaches to its k-th nearest other real sample and is open (``<``), as in the
    paper: a fake exactly on the boundary is outside. Hence a real sample with k or more exact copies
    has a ball of radius 0, which nothing is in, not even a copy; a real set of which every sample has
    k copies scores 0 and 0. A set without such copies scores density 1 (no ties) and coverage 1
    against itself.

    Args:
        real: features ``(n, d)``, n > k.
        fake: features ``(m, d)``, m >= 1.
        k: the neighbour that sets a radius; the sample itself is not counted, copies of it are.

    Returns:
        ``density``, >= 0, 1 in expectation for samples of the real distribution and above 1 where
        fakes crowd where real samples are dense; ``coverage``, in [0, 1].

    Raises:
        MetricError: too few rows, different widths, or a value that is not finite.

    Source:
        Naeem et al. 2020, "Reliable Fidelity and Diversity Metrics for Generative Models", section 3.
    """
    return _scores(real, fake, None, k)


def manifold_scores(real: Any, fake: Any, ball_k: int = BALL_K, density_k: int = DENSITY_K) -> dict[str, float]:
    """``precision_recall`` with ``ball_k`` and ``density_coverage`` with ``density_k``, from one pass."""
    return _scores(real, fake, ball_k, density_k)


def of_evidence(evidence: Evidence) -> dict[str, float]:
    return manifold_scores(evidence.real.features, evidence.fake.features)


class ManifoldScore(Metric):
    """One of the four; the first that is asked for computes them all."""

    direction = "max"

    def __call__(self, evidence: Evidence) -> float:
        return evidence.once(of_evidence)[self.name]


@hookimpl
def ganbench_metrics() -> list[Metric]:
    closed, opened = {"k": BALL_K, "ball": "closed"}, {"k": DENSITY_K, "ball": "open"}
    return [
        ManifoldScore(name="precision", label="Precision", constants=closed),
        ManifoldScore(name="recall", label="Recall", constants=closed),
        ManifoldScore(name="density", label="Density", constants=opened),
        ManifoldScore(name="coverage", label="Coverage", constants=opened),
    ]
