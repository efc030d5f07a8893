"""Axes of charts: where values lie, and which ticks stand there."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ganbench.results.schema import MOST_MEASURE

LOG_FROM = 15.0  # how many times the smallest value the largest is, from which on an axis is logarithmic
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Axis:
    """From ``low`` to ``high``, linear or logarithmic; ``ticks`` with the text of each."""

    low: float
    high: float
    log: bool
    ticks: list[tuple[float, str]]

    def share(self, values: Any) -> Floats:
        """Where values lie, 0 at the low end and 1 at the high one."""
        low, high, values = self.low, self.high, np.asarray(values, dtype=float)
        if self.log:
            low, high, values = math.log(low), math.log(high), np.log(values)
        return np.asarray((values - low) / (high - low))


def finite(values: Sequence[Any]) -> Floats:
    """Values as floats, NaN for what is missing or too large to be drawn."""
    found = np.array([np.nan if value is None else value for value in values], dtype=np.float64)
    return np.where(np.abs(found) <= MOST_MEASURE, found, np.nan)


def axis(values: Floats, log: bool | None = None, zero: bool = False) -> Axis | None:
    """An axis that holds all of ``values``; None without any.

    Args:
        log: None for whatever suits them: logarithmic where they are positive and span a factor of 15.
        zero: it begins at 0, if it is linear.
    """
    known = values[np.isfinite(values)]
    known = np.where(np.abs(known) < 1 / MOST_MEASURE, 0.0, known)  # the ratio of two of them is still a number
    if not len(known):
        return None
    low, high = float(known.min()), float(known.max())
    if log is None:
        log = low > 0 and high >= LOG_FROM * low and not zero
    if log and low > 0:
        low, high = (
            (low / 1.5, high * 1.5) if high <= low else (low / (high / low) ** 0.04, high * (high / low) ** 0.04)
        )
        return Axis(low, high, True, _decades(low, high))
    low = min(low, 0.0) if zero else low
    margin = 0.04 * (high - low) or 0.5 * abs(high) or 1.0
    low, high = (low if zero and low == 0 else low - margin), high + margin
    return Axis(low, high, False, steps(low, high))


def steps(low: float, high: float, most: int = 5) -> list[tuple[float, str]]:
    raw = (high - low) / most
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * m for m in (1, 2, 5, 10) if power * m >= raw * 0.999)
    first, last = math.ceil(low / step), math.floor(high / step)
    return [(k * step, short(k * step)) for k in range(first, last + 1)] if last - first < 20 else []


def _decades(low: float, high: float, most: int = 6) -> list[tuple[float, str]]:
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    span = math.log10(high / low)
    steps = (1, 2, 5) if span < 2 else (1,)
    every = max(1, math.ceil(span / most))
    found = [10.0**k * m for k in range(first, last + 1) if k % every == 0 for m in steps]
    return [(value, short(value)) for value in found if low <= value <= high]


def short(value: float) -> str:
    """``64k``, ``1.5M``: as it stands beside a tick."""
    for unit, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= unit and abs(value) < 1e12:
            return f"{value / unit:.3g}{letter}"
    return f"{value:.3g}" if value else "0"
