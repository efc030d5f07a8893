"""The two passes over pairs of rows that scores by balls and the kernel distance share.

One over the fakes among themselves, one over real rows and fakes. What they need of the real set
alone is computed once and remembered with it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from ganbench.metrics.numerics.balls import Balls
from ganbench.metrics.numerics.distances import screened
from ganbench.metrics.numerics.feature_set import FeatureSet
from ganbench.metrics.numerics.float32_screen import Screen, frame_of, plain_float32, screen_of, tiles
from ganbench.metrics.numerics.gram import GramSums
from ganbench.metrics.numerics.neighbours import Neighbours

Add = Callable[[slice, slice, torch.Tensor], None]


def real_radii(real: FeatureSet, *ks: int, sums: GramSums | None = None) -> list[np.ndarray]:
    """Distances ``(n,)`` from each row to its k-th nearest other for each of ``ks``; found once for a set.

    Fills the part of ``sums`` that is of the real set alone, where that is not known.
    """
    radii: dict[int, np.ndarray] = real.once("radii", dict)
    missing = [k for k in ks if k not in radii]
    screen = screen_of(real, frame_of(real))
    neighbours = Neighbours(screen, max(missing)) if missing else None
    _within(screen, neighbours, None if sums is None or sums.known else sums.among_reals)
    if neighbours is not None:
        radii |= dict(zip(missing, neighbours.radii(*missing), strict=True))
    return [radii[k] for k in ks]


def ball_scores(
    real: FeatureSet, fake: FeatureSet, ball_k: int | None, density_k: int | None, sums: GramSums | None = None
) -> dict[str, float]:
    """``run``, its scores remembered with the fakes."""
    key = ("balls", real, ball_k, density_k)
    if sums is not None and fake.knows(key):
        run(real, fake, None, None, sums)
    return fake.once(key, lambda: run(real, fake, ball_k, density_k, sums))


def run(
    real: FeatureSet, fake: FeatureSet, ball_k: int | None, density_k: int | None, sums: GramSums | None = None
) -> dict[str, float]:
    """Precision and recall where ``ball_k`` is given, density and coverage where ``density_k`` is; fills ``sums``."""
    with plain_float32():
        ones, twos = screen_of(real, frame_of(real)), screen_of(fake, frame_of(real))
        ks = [k for k in (ball_k, density_k) if k is not None]
        radii = dict(zip(ks, real_radii(real, *ks, sums=sums), strict=True))
        neighbours = None if ball_k is None else Neighbours(twos, ball_k)
        _within(twos, neighbours, None if sums is None else sums.among_fakes)
        balls = Balls(
            ones,
            twos,
            None if ball_k is None else radii[ball_k],
            None if density_k is None else radii[density_k],
            None if neighbours is None else neighbours.radii(neighbours.k)[0],
        )
        _across(ones, twos, balls if ks else None, sums)
    scores: dict[str, float] = {}
    if ball_k is not None:
        scores |= {"precision": float(balls.held.mean()), "recall": float(balls.recalled.mean())}
    if density_k is not None:
        scores |= {"density": balls.hits / (density_k * len(fake)), "coverage": float(balls.covered.mean())}
    return scores


def _within(screen: Screen, neighbours: Neighbours | None, add: Add | None) -> None:
    if not screen.fits or (add is None and neighbours is None):
        return
    for tile in tiles(screen):
        if neighbours is not None:
            neighbours.add(*tile)
            if neighbours.crowded and add is None:
                break
        if add is not None:
            add(*tile)


def _across(real: Screen, fake: Screen, balls: Balls | None, sums: GramSums | None) -> None:
    if real.fits and fake.fits:
        for rows, columns, tile in tiles(real, fake):
            if balls is not None:
                balls.add(rows, columns, tile)
            if sums is not None:
                sums.across(rows, columns, tile)
        if balls is not None:
            balls.finish()
    elif balls is not None:
        _in_double(balls)


def _in_double(balls: Balls) -> None:
    """The pass over ``tiles(real, fake)`` in float64, for what float32 has no range for."""
    real, fake = balls.real.features.tensor.double(), balls.fake.features.tensor.double()
    for rows, squared, bound in screened(real, fake):
        row, column = np.indices(squared.shape).reshape(2, -1)
        upper, lower = (-0.5 * balls.real.scale**2 * (squared + sign * bound).numpy().ravel() for sign in (-1.0, 1.0))
        balls.decide(row + rows.start, column, upper, lower)
