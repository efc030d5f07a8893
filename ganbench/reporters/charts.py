"""Axes, lines with bands, and points, as numbers that templates draw as SVG. No text here is markup."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ganbench.analysis.statistics import Floats
from ganbench.reporters.formatting import number, shortened, ticks
from ganbench.results.schema import MOST_MEASURE

WIDTH, HEIGHT = 420, 250
LEFT, RIGHT, TOP, BOTTOM = 46, 10, 10, 36
NAMES = 100  # room at the right for the names of lines
MOST_NAMED = 12  # lines that are named there
MOST_POINTS = 41  # of a line
COLOURS, STYLES = 7, 28  # seven colours by four dashes, in page.css
LOG_FROM = 15.0  # how many times the smallest value the largest is, from which on an axis is logarithmic


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
    return ticks([k * step for k in range(first, last + 1)]) if last - first < 20 else []


def _decades(low: float, high: float, most: int = 6) -> list[tuple[float, str]]:
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    span = math.log10(high / low)
    steps = (1, 2, 5) if span < 2 else (1,)
    every = max(1, math.ceil(span / most))
    found = [10.0**k * m for k in range(first, last + 1) if k % every == 0 for m in steps]
    return ticks([value for value in found if low <= value <= high])


@dataclass
class Series:
    """One line: ``middle`` at ``x``, from ``low`` to ``high`` where it has a band; each ``(n,)``, NaN for a gap.

    Attributes:
        style: which of the styles of lines it has.
        paces: for each further axis by name how much of it passes while x passes 1; without it the line is not there.
        marks: places ``(x, y)`` where something happened, with what.
        key: what scripts call it.
    """

    name: str
    x: Floats
    middle: Floats
    low: Floats | None = None
    high: Floats | None = None
    style: int = 0
    paces: Mapping[str, float] = field(default_factory=dict)
    marks: list[tuple[float, float, str]] = field(default_factory=list)
    key: int = 0


def path(x: Floats, y: Floats) -> str:
    """A line through points, broken where one is missing; a point alone is a dot."""
    here = np.isfinite(x) & np.isfinite(y)
    found = ""
    for i in np.flatnonzero(here):
        first, last = i == 0 or not here[i - 1], i + 1 == len(here) or not here[i + 1]
        found += f"{'M' if first else 'L'}{_digits(x[i])} {_digits(y[i])}{'h0' if first and last else ''}"
    return found


def dots(x: Floats, y: Floats) -> str:
    """Points for a stroke with round ends."""
    pairs = zip(x.tolist(), y.tolist(), strict=True)
    return "".join(f"M{_digits(a)} {_digits(b)}h0" for a, b in pairs if math.isfinite(a) and math.isfinite(b))


def marker(style: int, x: float, y: float) -> str:
    """The shape of a point: a circle, square, triangle or diamond, as many as there are kinds of dashes."""
    cx, cy = _digits(x), _digits(y)
    return {
        0: f"M{_digits(x - 5)} {cy}a5 5 0 1 0 10 0a5 5 0 1 0 -10 0Z",
        1: f"M{_digits(x - 4.5)} {_digits(y - 4.5)}h9v9h-9Z",
        2: f"M{cx} {_digits(y - 6)}l5.5 10h-11Z",
        3: f"M{cx} {_digits(y - 6.5)}l6.5 6.5l-6.5 6.5l-6.5 -6.5Z",
    }[style % STYLES // COLOURS]


def _digits(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _area(x: Floats, low: Floats, high: Floats) -> str:
    known = np.isfinite(low) & np.isfinite(high)
    if known.sum() < 2 or np.array_equal(low[known], high[known]):
        return ""
    around = path(np.concatenate([x[known], x[known][::-1]]), np.concatenate([high[known], low[known][::-1]]))
    return around + "Z"


def thinned(n: int) -> list[int]:
    """At most ``MOST_POINTS`` of n places, evenly, the first and the last among them."""
    return sorted(set(np.linspace(0, n - 1, min(n, MOST_POINTS)).round().astype(int).tolist())) if n else []


def lines(
    title: str,
    series: Sequence[Series],
    axes: Sequence[tuple[str, str]],
    log: bool | None = None,
    zero: bool = False,
    names: bool = True,
    heads: str = ",.0f",
) -> dict[str, Any] | None:
    """A chart of lines over one axis that a script can exchange for another; None without a value.

    Args:
        title: what stands on the vertical axis.
        axes: names and labels of the horizontal axes; the first one is that of ``Series.x``.
        names: whether lines are named at their right ends, if they are few.
        heads: how ``Series.x`` is written in the head of the figures.
    """
    drawn = [line for line in series if np.isfinite(line.middle).any()]
    ends = [part for line in drawn for part in (line.middle, line.low, line.high) if part is not None]
    vertical = axis(np.concatenate(ends), log, zero) if ends else None
    if vertical is None:
        return None
    named = names and 1 < len(drawn) <= MOST_NAMED
    width = WIDTH - LEFT - RIGHT - (NAMES if named else 0)
    height = HEIGHT - TOP - BOTTOM
    most = {"": max(float(line.x.max()) for line in drawn) or 1.0}
    for name, _ in axes[1:]:
        reached = [float(line.x.max()) * line.paces[name] for line in drawn if line.paces.get(name)]
        if reached:
            most[name] = max(reached)

    def y(values: Floats) -> Floats:
        return np.asarray(TOP + height * (1 - vertical.share(values)))

    groups, short = [], shortened([line.name for line in drawn], 14)
    for line in drawn:
        keep = thinned(len(line.x))
        x = LEFT + width * line.x[keep] / most[""]
        factors = {axes[0][0]: 1.0}
        for name, end in most.items():
            if name and line.paces.get(name):
                factors[name] = line.paces[name] * most[""] / end
        band = "" if line.low is None or line.high is None else _area(x, y(line.low[keep]), y(line.high[keep]))
        middle = y(line.middle[keep])
        groups.append(
            {
                "name": line.name,
                "style": line.style % STYLES,
                "key": line.key,
                "band": band,
                "short": short[line.name],
                "line": path(x, middle),
                "end": float(middle[np.isfinite(middle)][-1]),
                "factors": [(name, f"{factor:.4g}") for name, factor in factors.items()],
                "marks": [
                    {"at": dots(LEFT + width * np.array([a]) / most[""], y(np.array([b]))), "text": text}
                    for a, b, text in line.marks
                    if math.isfinite(b)
                ],
            }
        )
    if named:
        _spread(groups)
    return {
        "title": title,
        "named": named,
        "groups": groups,
        "right": LEFT + width,
        "most": most[""],
        "bottom": TOP + height,
        "y_ticks": [(f"{position:.1f}", text) for position, text in _placed(vertical, y)],
        "axes": [
            _horizontal(name, label, most["" if not i else name], width)
            for i, (name, label) in enumerate(axes)
            if not i or name in most
        ],
        "log": vertical.log,
        "table": _table(drawn, heads),
    }


def _placed(vertical: Axis, y: Any) -> list[tuple[float, str]]:
    return [(float(y(np.array([value]))[0]), text) for value, text in vertical.ticks]


def _horizontal(name: str, label: str, most: float, width: int) -> dict[str, Any]:
    ticks = [(value, text) for value, text in steps(0.0, most, 5) if value <= most]
    return {"name": name, "label": label, "ticks": [(f"{LEFT + width * v / most:.1f}", text) for v, text in ticks]}


def _spread(groups: list[dict[str, Any]], apart: float = 12.0) -> None:
    """Heights of the names at the right: that of each line's end, moved until none covers another."""
    ordered = sorted(groups, key=lambda group: group["end"])
    bottom = HEIGHT - BOTTOM + 4.0
    for i, group in enumerate(ordered):
        group["label"] = max(group["end"] + 4, ordered[i - 1]["label"] + apart if i else TOP + 4.0)
    for i in range(len(ordered) - 1, -1, -1):
        limit = ordered[i + 1]["label"] - apart if i + 1 < len(ordered) else bottom
        ordered[i]["label"] = min(ordered[i]["label"], limit)
    for group in groups:
        group["label"] = f"{group['label']:.1f}"


def _table(drawn: Sequence[Series], heads: str) -> dict[str, Any]:
    """Some places of each line in figures: what a reader who sees no chart, or wants its numbers, has instead."""
    columns = max(4, min(11, 250 // len(drawn)))
    places = max((line.x for line in drawn), key=len)
    chosen = places[np.unique(np.linspace(0, len(places) - 1, min(columns, len(places))).round().astype(int))]
    rows = []
    for line in drawn:
        at = {x: value for x, value in zip(line.x.tolist(), line.middle.tolist(), strict=True)}
        rows.append((line.name, [number(at.get(x)) for x in chosen.tolist()]))
    return {"head": [format(x, heads) for x in chosen.tolist()], "rows": rows}
