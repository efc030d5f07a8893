"""Distributions of scores whose true median is known, for ``simulation.py``."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy import stats


class Draw(NamedTuple):
    """How scores are drawn: ``scores(rng, shape)``, their true median, and the share of trials that end as failures.

    Attributes:
        stream: tells its random numbers from those of the others.
        direction: ``min`` for scores as FID, tested on logarithms; ``max`` for scores as coverage, tested as they are.
    """

    scores: Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]
    median: float
    stream: int
    failed: float = 0.0
    direction: str = "min"


def _mixture(share: float) -> Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]:
    """Log-normal, and a share of trials that complete with eight times the score."""

    def draw(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        return np.exp(0.3 * rng.normal(size=shape)) * np.where(rng.random(shape) < share, 8.0, 1.0)

    return draw


def _mixture_median(share: float) -> float:
    """Where the distribution function of ``_mixture`` is a half."""

    def below(log: float) -> float:
        return (1 - share) * stats.norm.cdf(log / 0.3) + share * stats.norm.cdf((log - np.log(8)) / 0.3)

    low, high = -3.0, 3.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if below(middle) < 0.5 else (low, middle)
    return float(np.exp(low))


def _log_normal(spread: float) -> Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]:
    return lambda rng, shape: np.exp(spread * rng.normal(size=shape))


DRAWS = {
    "normal": Draw(lambda rng, shape: rng.normal(0.6, 0.1, shape), 0.6, 0, direction="max"),
    "log-normal, sd 0.3": Draw(_log_normal(0.3), 1.0, 1),
    "log-normal, sd 1": Draw(_log_normal(1.0), 1.0, 2),
    "gamma, shape 2": Draw(lambda rng, shape: rng.gamma(2.0, size=shape), float(stats.gamma.median(2.0)), 3),
    "10 % collapse, x8": Draw(_mixture(0.1), _mixture_median(0.1), 4),
    "30 % collapse, x8": Draw(_mixture(0.3), _mixture_median(0.3), 5),
    "10 % crash": Draw(_log_normal(0.3), 1.0, 6, failed=0.1),
    "20 % crash": Draw(_log_normal(0.3), 1.0, 7, failed=0.2),
    "40 % crash": Draw(_log_normal(0.3), 1.0, 8, failed=0.4),
    "50 % crash": Draw(_log_normal(0.3), 1.0, 9, failed=0.5),
    "70 % crash": Draw(_log_normal(0.3), 1.0, 10, failed=0.7),
}
