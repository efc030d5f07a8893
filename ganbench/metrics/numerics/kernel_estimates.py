"""The kernel distance's estimates, one a subset, by the cheapest way that keeps their digits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from ganbench.metrics.numerics.feature_set import FeatureSet
from ganbench.metrics.numerics.float32_screen import frame_of, plain_float32, screen_of, tiles
from ganbench.metrics.numerics.gram import GramSums, Rows, rows_of
from ganbench.metrics.numerics.third_moments import ThirdMoments, one_thread

BLOCK = 2048
"""Rows of a block of float64 kernel values."""
CHEAP = 2.5e10
"""Multiplications that float64 may take, about a second's; above it kernel values are float32."""
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


class Everything:
    """The one estimate from all rows."""

    sums = None

    def __init__(self, real: FeatureSet, fake: FeatureSet) -> None:
        self.real, self.fake = real, fake

    def estimates(self) -> np.ndarray:
        x, y = extended(self.real.values), extended(self.fake.values)
        own = self.real.once("cubes", lambda: cubes(x, x))
        return np.array([combined(own, cubes(y, y), cubes(x, y), len(x), len(y))])


def draw(n: int, m: int, subsets: int, size: int, rng: int | np.random.RandomState) -> tuple[np.ndarray, np.ndarray]:
    """Rows ``(subsets, size)`` of either set; of each subset first those of the real one."""
    state = rng if isinstance(rng, np.random.RandomState) else np.random.RandomState(rng)
    drawn = [[np.int32(state.choice(rows, size, replace=False)) for rows in (n, m)] for _ in range(subsets)]
    return np.stack([pair[0] for pair in drawn]), np.stack([pair[1] for pair in drawn])


class Subsets:
    """Estimates of subsets of rows.

    Few features go by third moments, few rows by float64 kernel values. Otherwise kernel values are
    float32: those of all pairs, in a pass that others may share (``sums`` is there to be filled before
    ``estimates`` is called), or, where there are so many rows that this is more work, subset by subset.
    """

    def __init__(
        self, real: FeatureSet, fake: FeatureSet, subsets: int, size: int, rng: int | np.random.RandomState
    ) -> None:
        self.real, self.fake, self.size = real, fake, size
        n, m, d = len(real), len(fake), real.width
        # What the seed and the real set decide is kept with the real set; draws from a state are not repeated.
        self.keep = real if not isinstance(rng, np.random.RandomState) else FeatureSet(real.values)
        self.key = (n, m, subsets, size, rng)
        self.of_real, self.of_fake = self._once("draws", lambda: draw(n, m, subsets, size, rng))
        self.sums: GramSums | None = None
        work = 2.0 * subsets * size**2 * d
        if (d + 1) ** 2 <= 5 * size:
            self.way = self._by_moments
        elif work <= CHEAP or not self._in_range():
            self.way = self._in_double
        elif (n * m + 0.5 * m * m) * (d + subsets) <= 1.5 * work:
            self.way = self._from_sums
            reals = self._once("sums", lambda: None) if self.keep.knows(("sums", self.key)) else None
            fakes = rows_of(fake, frame_of(real), self.of_fake)
            self.sums = GramSums(self._real_rows(), fakes, frame_of(real), reals)
        else:
            self.way = self._one_by_one

    def estimates(self) -> np.ndarray:
        """One for each subset."""
        return self.way()

    def _once(self, name: str, compute: Callable[[], Any]) -> Any:
        return self.keep.once((name, self.key), compute)

    def _in_range(self) -> bool:
        frame = frame_of(self.real)
        screens = [screen_of(side, frame) for side in (self.real, self.fake)]
        largest = max(2.0 * float(screen.half.max()) / frame.scale**2 for screen in screens)
        return all(s.fits for s in screens) and (largest + float(frame.centre @ frame.centre)) < RANGE * self.real.width

    def _combined(self, within_real: Any, within_fake: Any, between: Any) -> np.ndarray:
        sums = [np.asarray(values) for values in (within_real, within_fake, between)]
        return np.asarray(combined(sums[0], sums[1], sums[2], self.size, self.size))

    def _by_moments(self) -> np.ndarray:
        third = ThirdMoments(self.size, self.real.width + 1)

        def vectors(features: FeatureSet, draws: np.ndarray) -> Iterator[tuple[torch.Tensor, float]]:
            rows = extended(features.values)
            diagonal = rows.square().sum(dim=1) ** 3
            for index in draws:
                vector = third(rows.index_select(0, torch.from_numpy(index)))
                yield vector, float(torch.dot(vector, vector) - diagonal[index].sum())

        with one_thread():
            of_real = self._once("moments", lambda: [(v.clone(), own) for v, own in vectors(self.real, self.of_real)])
            found = [
                (own, within, float(torch.dot(x, y)))
                for (x, own), (y, within) in zip(of_real, vectors(self.fake, self.of_fake), strict=True)
            ]
        return self._combined(*zip(*found, strict=True))

    def _in_double(self) -> np.ndarray:
        x, y = extended(self.real.values), extended(self.fake.values)
        reals = [x[torch.from_numpy(index)] for index in self.of_real]
        fakes = [y[torch.from_numpy(index)] for index in self.of_fake]
        own = self._once("cubes", lambda: [cubes(rows, rows) for rows in reals])
        between = [cubes(*pair) for pair in zip(reals, fakes, strict=True)]
        return self._combined(own, [cubes(rows, rows) for rows in fakes], between)

    def _real_rows(self) -> Rows:
        return self._once("rows", lambda: rows_of(self.real, frame_of(self.real), self.of_real))

    def _from_sums(self) -> np.ndarray:
        sums = self.sums
        assert sums is not None
        return self._combined(self._once("sums", lambda: sums.reals), sums.fakes, sums.both)

    def _one_by_one(self) -> np.ndarray:
        frame = frame_of(self.real)
        real, fake = self._real_rows(), rows_of(self.fake, frame, self.of_fake)

        def sums(first: Rows, second: Rows | None = None) -> float:
            found = GramSums(first, second or first, frame)
            for tile in tiles(first.screen, second.screen if second else None):
                if second is None:
                    found.among_fakes(*tile)
                else:
                    found.across(*tile)
            return float(found.fakes[0] + found.both[0])

        with plain_float32():
            own = self._once("sums", lambda: [sums(real.take(index)) for index in self.of_real])
            pairs = [(real.take(i), fake.take(j)) for i, j in zip(self.of_real, self.of_fake, strict=True)]
            return self._combined(own, [sums(two) for _, two in pairs], [sums(*pair) for pair in pairs])
