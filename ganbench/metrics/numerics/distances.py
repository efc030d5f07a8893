"""Exact Euclidean distances at the speed of matrix products.

The distance of two rows is the one that ``direct_distances`` computes in float64 from their difference: 0 for
copies, symmetric, equal for equal differences. Products are faster but lose digits (copies come out
near 0), so they only screen: each squared distance has a bound of its error, and whatever the bound
leaves open is computed again from the difference. Work goes by blocks of rows; no n x n matrix is kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
import torch

from ganbench.metrics.numerics.threads import run_all

BLOCK = 2**20
"""Elements of a block of distances: 8 MiB, which mostly stays in cache."""


def direct_distances(points: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """Distances ``(..., n, m)`` of ``(..., n, d)`` and ``(..., m, d)``, from differences."""
    return torch.cdist(points, others, compute_mode="donot_use_mm_for_euclid_dist")


def pair_distances(
    points: torch.Tensor, others: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor
) -> torch.Tensor:
    """The distances ``direct_distances(points, others)[rows, columns]`` of float32 or float64 features, in float64."""
    if 8 * len(rows) > len(points) * len(others):
        return direct_distances(points.double(), others.double())[rows, columns]
    if not len(rows):
        return torch.empty(0, dtype=torch.float64)
    step = max(1, BLOCK // (8 * points.shape[1]))

    def of(row: torch.Tensor, column: torch.Tensor) -> torch.Tensor:
        return direct_distances(points[row, None].double(), others[column, None].double()).flatten()

    return torch.cat(run_all([partial(of, *ends) for ends in zip(rows.split(step), columns.split(step), strict=True)]))


def screened(
    points: torch.Tensor, others: torch.Tensor, group: int = 1
) -> Iterator[tuple[slice, torch.Tensor, torch.Tensor]]:
    """Approximate squared distances, block by block.

    Yields:
        the rows of ``points``; squared distances ``(rows, columns)``, the columns filled up with
        infinity to a multiple of ``group``; ``(rows, 1)`` bounds of their error, which cover the
        rounding of ``direct_distances`` as well.
    """
    centre = others.mean(dim=0)
    points, others = points - centre, others - centre
    columns = -(-len(others) // group) * group
    left = points.new_empty(len(points), points.shape[1] + 2)
    left[:, :-2], left[:, -2], left[:, -1] = points, points.square().sum(dim=1), 1.0
    right = others.new_zeros(columns, others.shape[1] + 2)
    right[: len(others), :-2], right[: len(others), -1] = -2.0 * others, others.square().sum(dim=1)
    right[:, -2], right[len(others) :, -1] = 1.0, torch.inf
    # Inner products of d terms are off by at most d rounding errors of |x| |y|; the 4 leaves room for the norms.
    unit = 4.0 * (points.shape[1] + 10) * torch.finfo(torch.float64).eps
    bound = unit * (left[:, -2:-1] + right[: len(others), -1].max())
    step = max(1, BLOCK // columns)
    for start in range(0, len(points), step):
        rows = slice(start, min(start + step, len(points)))
        yield rows, left[rows] @ right.T, bound[rows]


def true_indices(mask: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows and columns of what is True, row by row; NumPy finds it ten times faster than torch does."""
    row, column = np.divmod(np.flatnonzero(mask), mask.shape[1])
    return torch.from_numpy(row), torch.from_numpy(column)


def nearest(
    points: torch.Tensor, others: torch.Tensor, k: int, own: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """The ``k`` smallest distances from each point to the others.

    Args:
        points: ``(n, d)``, float64.
        others: ``(m, d)``, float64, with m >= k, or m > k with ``own``.
        k: how many.
        own: row ``(n,)`` of ``others`` that each point itself is, and that is left out; other rows
            that equal it count, at distance 0.

    Returns:
        Distances ``(n, k)`` in ascending order, and the row of the nearest ``(n,)``, the first of equals.
    """
    # At least 4 (k + 1) groups of columns, where there are so many: few of the k nearest share one.
    group = max(1, min(16, len(others) // (4 * (k + 1))))
    distances = points.new_empty(len(points), k)
    index = torch.empty(len(points), dtype=torch.int64, device=points.device)
    for rows, squared, bound in screened(points, others, group):
        here = torch.arange(len(squared), device=points.device)
        if own is not None:
            squared[here, own[rows]] = torch.inf
        # The k-th smallest of the groups' minima has k entries at or below it; errors count on both sides.
        lowest = squared.view(len(squared), group, -1).amin(dim=1)
        limit = lowest.topk(k, largest=False).values[:, -1:] + 2.0 * bound
        row, column = true_indices(squared.numpy() <= limit.numpy())
        if 8 * len(row) > squared.numel():
            exact = direct_distances(points[rows], others)
            if own is not None:
                exact[here, own[rows]] = torch.inf
            distances[rows] = exact.topk(k, largest=False).values
            index[rows] = exact.argmin(dim=1)
        else:
            exact = pair_distances(points[rows], others, row, column)
            order = torch.from_numpy(np.lexsort((exact.numpy(), row.numpy())))
            first = torch.searchsorted(row, here)
            distances[rows] = exact[order][first[:, None] + torch.arange(k, device=points.device)]
            index[rows] = column[order][first]
    return distances, index


def balls_holding(
    points: torch.Tensor, radii: torch.Tensor, others: torch.Tensor, own: torch.Tensor | None = None
) -> torch.Tensor:
    """How many closed balls around ``points`` hold each of the ``others``: int64 ``(m,)``.

    Args:
        points: centres ``(n, d)``, float64.
        radii: ``(n,)``, distances as ``nearest`` gives them.
        others: ``(m, d)``, float64.
        own: row ``(n,)`` of ``others`` that each centre itself is, and that its ball does not count.
    """
    counts = torch.zeros(len(others), dtype=torch.int64)
    for rows, squared, bound in screened(points, others):
        limit = radii[rows, None].square()
        off = squared - limit
        margin = bound + 1e-12 * limit
        inside = off < -margin
        row, column = true_indices((off.abs() <= margin).numpy())
        exact = pair_distances(points[rows], others, row, column)
        inside[row, column] = exact <= radii[rows][row]
        if own is not None:
            inside[torch.arange(len(inside)), own[rows]] = False
        counts += inside.sum(dim=0)
    return counts
