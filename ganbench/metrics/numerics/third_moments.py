"""The cubic kernel between sets of few features, by third moments: exact, and no pair is looked at.

``(x.y)^3`` is the inner product of all products of three entries of x with those of y. Summed over a
set these products are d (d + 1) (d + 2) / 6 numbers, and the kernel's sum over all pairs of two sets
is one inner product of such vectors.
"""

from __future__ import annotations

import torch

GROUP = 4
"""Middle factors that one product takes together: small matrices multiply slowly."""


class ThirdMoments:
    """Sums over sets of rows of the products of three entries, scaled so that inner products are kernel sums.

    Args:
        rows: of a set.
        width: entries a row.
    """

    def __init__(self, rows: int, width: int) -> None:
        groups = [range(start, min(start + GROUP, width)) for start in range(0, width, GROUP)]
        shapes = [(sum(width - b for b in group), group.stop) for group in groups]
        sizes = [last * first for last, first in shapes]
        self.columns = torch.empty(width, rows, dtype=torch.float64)
        self.sums = torch.empty(sum(sizes), dtype=torch.float64)
        self.weights = torch.zeros_like(self.sums)
        space = self.columns.new_empty(max(last for last, _ in shapes), rows)
        self.steps = []
        parts = zip(groups, shapes, self.sums.split(sizes), self.weights.split(sizes), strict=True)
        for group, shape, sums, weights in parts:
            products, at = [], 0
            for b in group:
                # Of middle factor b: c >= b down, a <= b across. A product with three different factors
                # stands for six, one with two equal factors for three; a > b has its place elsewhere.
                here = slice(at, at + width - b)
                block = weights.view(shape)[here, : b + 1]
                block.fill_(6.0**0.5)
                block[0], block[:, -1] = 3.0**0.5, 3.0**0.5
                block[0, -1] = 1.0
                products.append((self.columns[b], self.columns[b:], space[here]))
                at = here.stop
            self.steps.append((products, space[:at], self.columns[: group.stop].T, sums.view(shape)))

    def __call__(self, rows: torch.Tensor) -> torch.Tensor:
        """The vector of a set ``(rows, width)``, float64; the next call overwrites it."""
        self.columns.copy_(rows.T)
        for products, last, first, sums in self.steps:
            for middle, factors, product in products:
                torch.mul(middle, factors, out=product)
            torch.mm(last, first, out=sums)
        return self.sums.mul_(self.weights)
