"""The kernel distance's estimates, one a subset, by the cheapest way that keeps their digits."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property, partial
from itertools import chain
from typing import Any

import numpy as np
import torch

from ganbench.metrics.numerics.feature_set import FeatureSet, device_of
from ganbench.metrics.numerics.float32_screen import frame_of, plain_float32, screen_of, tiles
from ganbench.metrics.numerics.gram import GramSums, Rows, rows_of
from ganbench.metrics.numerics.third_moments import ThirdMoments
from ganbench.metrics.numerics.threads import count, run_all

BLOCK = 2048
"""Rows of a block of float64 kernel values."""
CHEAP = 2.5e10
"""Multiplications that float64 may take, about a second's; above it kernel values are float32."""
SHARES = 4
"""Parts of the subsets a thread: one may be slower than the others."""
RANGE = 1e10
"""Largest argument whose cube is left to float32."""


def extended(values: np.ndarray) -> torch.Tensor:
    """(x, sqrt d) / sqrt d in float64: inner products are x.y / d + 1."""
    x = torch.from_numpy(values).double()
    return torch.cat([x / x.shape[1] ** 0.5, x.new_ones(len(x), 1)], dim=1)


def cubes(left: torch.Tensor, right: torch.Tensor) -> float:
    """Sum of the cubes of all inner products, or, of a set with itself, of those of different rows."""
    total = 0.0
    for start in range(0, len(left), BLOCK):
        products = left[start : start + BLOCK] @ right.T
        if left is right:
            products[:, start:].fill_diagonal_(0.0)
        flat = products.flatten()
        total += float(torch.dot(flat.square(), flat))
    return total


def combined(within_real: Any, within_fake: Any, between: Any, n: int, m: int) -> Any:
    """The unbiased estimate from sums over ordered pairs of different rows of each set, and over pairs of both."""
    return within_real / (n * (n - 1)) + within_fake / (m * (m - 1)) - 2.0 * between / (n * m)


class WholeEstimate:
    """The one estimate from all rows of both sets."""

    def __init__(self, real: FeatureSet, fake: FeatureSet) -> None:
        self.real, self.fake = real, fake

    def estimates(self) -> np.ndarray:
        """``(1,)``."""
        x, y = extended(self.real.values), extended(self.fake.values)
        own = self.real.once("cubes", lambda: cubes(x, x))
        return np.array([combined(own, cubes(y, y), cubes(x, y), len(x), len(y))])


class Draws:
    """The rows of each subset, and what estimates need of the real ones alone.

    Args:
        real: real features.
        m: how many fakes there are.
        subsets: how many.
        size: rows of either set in each.
        rng: of each subset first the real rows are drawn, then the fakes.

    Attributes:
        of_real: rows ``(subsets, size)`` of the real set.
        of_fake: the same of the fakes.
        sums: ``(subsets,)`` kernel sums over real rows from float32 values, once they were found.
    """

    def __init__(self, real: FeatureSet, m: int, subsets: int, size: int, rng: int | np.random.RandomState) -> None:
        self.real = real
        state = rng if isinstance(rng, np.random.RandomState) else np.random.RandomState(rng)
        sides = (len(real), m)
        drawn = [[np.int32(state.choice(rows, size, replace=False)) for rows in sides] for _ in range(subsets)]
        self.of_real, self.of_fake = np.stack([pair[0] for pair in drawn]), np.stack([pair[1] for pair in drawn])
        self.sums: np.ndarray | None = None

    @cached_property
    def moments(self) -> list[tuple[torch.Tensor, float]]:
        """Third moments of each subset's real rows, and their kernel sum."""
        rows = Extended(self.real)

        def of(some: slice) -> list[tuple[torch.Tensor, float]]:
            return [(vector.clone(), own) for vector, own in third_moments(rows, self.of_real[some])]

        return list(chain.from_iterable(run_all([partial(of, some) for some in _shares(len(self.of_real))])))

    @cached_property
    def cubes(self) -> list[float]:
        """Kernel sums over each subset's real rows from float64 values."""
        x = extended(self.real.values)
        return [cubes(rows, rows) for rows in (x[torch.from_numpy(index)] for index in self.of_real)]

    @cached_property
    def rows(self) -> Rows:
        """The real rows, ready for float32 kernel values."""
        return rows_of(self.real, frame_of(self.real), self.of_real)


def draws_of(real: FeatureSet, m: int, subsets: int, size: int, rng: int | np.random.RandomState) -> Draws:
    """The draws of a seed, remembered with the real set; those of a RandomState are not repeated."""
    if isinstance(rng, np.random.RandomState):
        return Draws(real, m, subsets, size, rng)
    return real.once(("draws", m, subsets, size, rng), lambda: Draws(real, m, subsets, size, rng))


class Extended:
    """A set's rows as the kernel multiplies them, and each row's kernel value with itself."""

    def __init__(self, features: FeatureSet) -> None:
        self.rows = extended(features.values)
        self.diagonal = self.rows.square().sum(dim=1) ** 3


def third_moments(features: Extended, draws: np.ndarray) -> Iterator[tuple[torch.Tensor, float]]:
    """The third moments of each subset's rows, overwritten by the next, and the kernel sum over its different rows."""
    third = ThirdMoments(draws.shape[1], features.rows.shape[1])
    for index in draws:
        vector = third(features.rows.index_select(0, torch.from_numpy(index)))
        yield vector, float(torch.dot(vector, vector) - features.diagonal[index].sum())


def _shares(subsets: int) -> list[slice]:
    """The subsets that threads take, some each."""
    step = -(-subsets // (SHARES * count())) if count() > 1 else subsets
    return [slice(start, start + step) for start in range(0, subsets, step)]


class SubsetEstimates:
    """Estimates from random subsets of rows.

    Few features go by third moments, few rows by float64 kernel values. Otherwise kernel values are
    float32: those of all pairs, in a scan that other scores may share (``sums`` must be filled by it before
    ``estimates`` is called), or, where there are so many rows that this is more work, subset by subset.
    """

    def __init__(
        self, real: FeatureSet, fake: FeatureSet, subsets: int, size: int, rng: int | np.random.RandomState
    ) -> None:
        self.real, self.fake, self.size = real, fake, size
        self.draws = draws_of(real, len(fake), subsets, size, rng)
        self.sums: GramSums | None = None
        n, m, d = len(real), len(fake), real.width
        work = 2.0 * subsets * size**2 * d
        if (d + 1) ** 2 <= 5 * size:
            self.way = self._by_moments
        elif work <= CHEAP or not self._in_range():
            self.way = self._in_double
        elif (n * m + 0.5 * m * m) * (d + subsets) <= 1.5 * work:
            self.way = self._from_sums
            frame = frame_of(real)
            device = device_of(real, fake, wide=True)
            fakes = rows_of(fake, frame, self.draws.of_fake).on(device)
            self.sums = GramSums(self.draws.rows.on(device), fakes, frame, self.draws.sums)
        else:
            self.way = self._one_by_one

    def estimates(self) -> np.ndarray:
        """``(subsets,)``."""
        return self.way()

    def _in_range(self) -> bool:
        frame = frame_of(self.real)
        screens = [screen_of(side, frame) for side in (self.real, self.fake)]
        largest = max(2.0 * float(screen.half.max()) / frame.scale**2 for screen in screens)
        return all(s.fits for s in screens) and (largest + float(frame.centre @ frame.centre)) < RANGE * self.real.width

    def _combined(self, within_real: Any, within_fake: Any, between: Any) -> np.ndarray:
        sums = [np.asarray(values) for values in (within_real, within_fake, between)]
        return np.asarray(combined(sums[0], sums[1], sums[2], self.size, self.size))

    def _by_moments(self) -> np.ndarray:
        rows, moments = Extended(self.fake), self.draws.moments

        def of(some: slice) -> list[tuple[float, float, float]]:
            known = zip(moments[some], third_moments(rows, self.draws.of_fake[some]), strict=True)
            return [(own, within, float(torch.dot(x, y))) for (x, own), (y, within) in known]

        parts = run_all([partial(of, some) for some in _shares(len(moments))])
        return self._combined(*zip(*chain.from_iterable(parts), strict=True))

    def _in_double(self) -> np.ndarray:
        x, y = extended(self.real.values), extended(self.fake.values)
        fakes = [y[torch.from_numpy(index)] for index in self.draws.of_fake]
        reals = (x[torch.from_numpy(index)] for index in self.draws.of_real)
        between = [cubes(*pair) for pair in zip(reals, fakes, strict=True)]
        return self._combined(self.draws.cubes, [cubes(rows, rows) for rows in fakes], between)

    def _from_sums(self) -> np.ndarray:
        assert self.sums is not None
        reals, fakes, both = self.sums.arrays()
        self.draws.sums = reals
        return self._combined(reals, fakes, both)

    def _one_by_one(self) -> np.ndarray:
        """Kernel sums of each subset computed by itself, tile by tile."""
        frame, draws, device = frame_of(self.real), self.draws, device_of(self.real, self.fake, wide=True)
        real, fake = draws.rows.on(device), rows_of(self.fake, frame, draws.of_fake).on(device)

        def sums(first: Rows, second: Rows | None = None) -> torch.Tensor:
            found = GramSums(first, second or first, frame)
            for tile in tiles(first.screen, second.screen if second else None):
                if second is None:
                    found.add(fakes=[found.of_fakes(*tile)])
                else:
                    found.add(both=[found.of_both(*tile)])
            return found.fakes[0] + found.both[0]

        def of_all(found: list[torch.Tensor]) -> np.ndarray:
            return torch.stack(found).cpu().numpy()

        with plain_float32():
            if draws.sums is None:
                draws.sums = of_all([sums(real.take(index)) for index in draws.of_real])
            pairs = [(real.take(i), fake.take(j)) for i, j in zip(draws.of_real, draws.of_fake, strict=True)]
            within = of_all([sums(two) for _, two in pairs])
            return self._combined(draws.sums, within, of_all([sums(*pair) for pair in pairs]))
