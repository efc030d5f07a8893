"""A pair of feature sets, real and fake, with everything that is computed from pairs of their rows, each once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from itertools import chain

import numpy as np
import torch

from ganbench.metrics.numerics.balls import Balls
from ganbench.metrics.numerics.feature_set import FeatureSet, device_of
from ganbench.metrics.numerics.float32_screen import Screen, Tile, frame_of, plain_float32, screen_of, strips, tiles
from ganbench.metrics.numerics.gram import GramSums
from ganbench.metrics.numerics.kernel_estimates import SubsetEstimates, WholeEstimate
from ganbench.metrics.numerics.neighbours import Neighbours
from ganbench.metrics.numerics.on_device import BallsOnDevice, NeighboursOnDevice
from ganbench.metrics.numerics.threads import run_all

BallKs = tuple[int | None, int | None]
"""Neighbours that set the radii of precision and recall, and of density and coverage; None where they are not asked."""


class Pair:
    """Real features and fakes, and what scores need of both.

    Precision, recall, density and coverage count rows in balls, and the kernel distance sums over pairs of rows: both
    read the same products of rows, which take nearly all of the time. ``scan`` makes the products once for whatever is
    asked of them: of the fakes among themselves, and of real rows with fakes. Those of the real rows among themselves
    are made once for the real set, and what they give (radii, kernel sums) stays with it.
    """

    def __init__(self, real: FeatureSet, fake: FeatureSet) -> None:
        self.real, self.fake = real, fake
        self._ball_scores: dict[BallKs, dict[str, float]] = {}

    def ball_scores(self, ks: BallKs) -> dict[str, float]:
        """``precision`` and ``recall`` where the first k is given, ``density`` and ``coverage`` where the second is."""
        if ks not in self._ball_scores:
            self.scan(ks)
        return self._ball_scores[ks]

    def kernel_estimates(
        self, subsets: int, size: int, rng: int | np.random.RandomState, balls: BallKs | None = None
    ) -> np.ndarray:
        """The kernel distance's estimates, one for each subset of ``size`` rows of either set, or one from all rows.

        ``balls`` are ks for which ``ball_scores`` will be asked too: if the estimates need a scan, it counts them.
        """
        if size == len(self.real) == len(self.fake):
            return WholeEstimate(self.real, self.fake).estimates()
        plan = SubsetEstimates(self.real, self.fake, subsets, size, rng)
        if plan.sums is not None:
            self.scan(balls, plan.sums)
        return plan.estimates()

    def scan(self, balls: BallKs | None = None, sums: GramSums | None = None) -> None:
        """Look at all pairs of rows once: count balls for ``ball_scores``, and fill ``sums``."""
        ball_k, density_k = balls if balls is not None and balls not in self._ball_scores else (None, None)
        with plain_float32():
            device = device_of(self.real, self.fake) if sums is None else sums.device
            real, fake = (screen_of(side, frame_of(self.real)).on(device) for side in (self.real, self.fake))
            ks = [k for k in (ball_k, density_k) if k is not None]
            radii = dict(zip(ks, real_radii(self.real, *ks, sums=sums, screen=real), strict=True))
            neighbours = None if ball_k is None else neighbours_of(fake, ball_k)
            fakes = _within(fake, neighbours, None if sums is None else sums.of_fakes)
            make = partial(
                Balls if device.type == "cpu" else BallsOnDevice,
                real,
                fake,
                None if ball_k is None else radii[ball_k],
                None if density_k is None else radii[density_k],
                None if neighbours is None else neighbours.radii(neighbours.k)[0],
            )
            found, both = _across(real, fake, make if ks else None, None if sums is None else sums.of_both)
            if sums is not None:
                sums.add(fakes=fakes, both=both)
        if found is not None:
            self._ball_scores[ball_k, density_k] = found.scores(density_k)


def pair_of(real: FeatureSet, fake: FeatureSet) -> Pair:
    """The pair of two sets, remembered with the fakes."""
    return fake.once(("pair", real), lambda: Pair(real, fake))


def neighbours_of(screen: Screen, k: int) -> Neighbours:
    """The neighbours of a set's rows, found where they lie."""
    return Neighbours(screen, k) if screen.right.device.type == "cpu" else NeighboursOnDevice(screen, k)


def real_radii(
    real: FeatureSet, *ks: int, sums: GramSums | None = None, screen: Screen | None = None
) -> list[np.ndarray]:
    """Distances ``(n,)`` from each row to its k-th nearest other for each of ``ks``; found once for a set.

    Fills the part of ``sums`` that is of the real set alone, where that is not known.
    """
    known = real.arrays
    missing = [k for k in ks if f"radii.{k}" not in known]
    screen = screen or screen_of(real, frame_of(real))
    neighbours = neighbours_of(screen, max(missing)) if missing else None
    wanted = sums is not None and not sums.known
    parts = _within(screen, neighbours, sums.of_reals if sums is not None and wanted else None)
    if sums is not None and wanted:
        sums.add(reals=parts)
    if neighbours is not None:
        known.update(zip((f"radii.{k}" for k in missing), neighbours.radii(*missing), strict=True))
    return [known[f"radii.{k}"] for k in ks]


SumOf = Callable[[slice, slice, torch.Tensor], torch.Tensor]


def _within(screen: Screen, neighbours: Neighbours | None, sum_of: SumOf | None) -> list[torch.Tensor]:
    """Show the products of a set with itself to whoever wants them; what ``sum_of`` gives for the tiles, in order."""
    if not screen.fits or (sum_of is None and neighbours is None):
        return []

    def look(own: Iterable[Tile]) -> list[torch.Tensor]:
        parts = []
        for tile in own:
            if sum_of is not None:
                parts.append(sum_of(*tile))
            if neighbours is not None:  # last: it may overwrite the tile
                neighbours.add(*tile)
                if neighbours.crowded and sum_of is None:
                    break
        return parts

    return list(chain.from_iterable(run_all([partial(look, own) for own in _shares(screen)])))


def _across(
    real: Screen, fake: Screen, balls: Callable[[], Balls] | None, sum_of: SumOf | None
) -> tuple[Balls | None, list[torch.Tensor]]:
    """Show the products of real rows with fakes to whoever wants them: the balls, and ``sum_of``'s, in order."""
    if not (real.fits and fake.fits):
        found = None if balls is None else balls()
        if found is not None:
            found.in_double(np.arange(len(real.half)))
        return found, []

    def look(own: Iterable[Tile]) -> tuple[Balls | None, list[torch.Tensor]]:
        found, parts = None if balls is None else balls(), []
        for tile in own:
            if sum_of is not None:
                parts.append(sum_of(*tile))
            if found is not None:  # last: it may overwrite the tile
                found.add(*tile)
        if found is not None:
            found.finish()
        return found, parts

    looked = run_all([partial(look, own) for own in _shares(real, fake)])
    first = looked[0][0]
    for other, _ in looked[1:]:
        if first is not None and other is not None:
            first.merge(other)
    return first, [part for _, parts in looked for part in parts]


def _shares(points: Screen, others: Screen | None = None) -> list[Iterable[Tile]]:
    """The tiles that threads go through, a strip each; on a GPU all of them together."""
    if points.right.device.type != "cpu":
        return [tiles(points, others)]
    return [strip() for strip in strips(points, others)]  # none is begun before its first tile is wanted
