"""Charts below a table: quality against cost, precision against recall, performance profiles, average ranks."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from ganbench.analysis.aggregation import Across
from ganbench.analysis.statistics import ALPHA, Floats
from ganbench.reporters.charts import (
    BOTTOM,
    HEIGHT,
    LEFT,
    RIGHT,
    STYLES,
    TOP,
    WIDTH,
    Axis,
    Series,
    axis,
    dots,
    finite,
    lines,
    marker,
)
from ganbench.reporters.formatting import number, shortened
from ganbench.reporters.sections import Section
from ganbench.reporters.trials import Trial, Variants

COST = (("training_seconds", "seconds of training"), ("parameters", "parameters"))
RANKS_WIDTH, RANKS_TOP, RANKS_STEP = 640, 46, 18  # of the diagram of average ranks


def section_charts(section: Section, variants: Variants) -> list[dict[str, Any]]:
    """Scatter plots of a section's variants, a large point for the median over seeds and a small one for each seed."""
    if not section.metrics:
        return []
    primary = section.metrics[0]
    title = section.heading
    found = [scatter_plot(_score(primary), _cost(name), variants, title(primary), text) for name, text in COST]
    if {"precision", "recall"} <= set(section.metrics):
        found.append(scatter_plot(_score("recall"), _score("precision"), variants, title("recall"), title("precision")))
    return [chart for chart in found if chart]


def _score(metric: str) -> Callable[[Trial], Any]:
    return lambda trial: trial.about.get(metric)


def _cost(name: str) -> Callable[[Trial], Any]:
    def parameters(trial: Trial) -> Any:
        return sum(trial.record.parameters.values() if trial.record else ()) or None

    return parameters if name == "parameters" else lambda trial: trial.cost.get(name)


def scatter_plot(
    vertical: Callable[[Trial], Any], horizontal: Callable[[Trial], Any], variants: Variants, y_title: str, x_title: str
) -> dict[str, Any] | None:
    """One scatter plot over the trials that completed; None with fewer than two variants that have both figures."""
    groups: list[tuple[int, str, Floats, Floats]] = []
    for key, name, own in variants:
        done = [trial for trial in own if trial.completed]
        x, y = finite([horizontal(t) for t in done]), finite([vertical(t) for t in done])
        known = np.isfinite(x) & np.isfinite(y)
        if known.any():
            groups.append((key, name, x[known], y[known]))
    if len(groups) < 2:
        return None
    across = axis(np.concatenate([x for _, _, x, _ in groups]))
    up = axis(np.concatenate([y for _, _, _, y in groups]))
    assert across is not None and up is not None
    width, height = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    points: list[dict[str, Any]] = []
    for key, name, x, y in groups:
        places = LEFT + width * across.share(x), TOP + height * (1 - up.share(y))
        middle = float(np.median(x)), float(np.median(y))
        cx = float(LEFT + width * across.share(middle[0]))
        cy = float(TOP + height * (1 - up.share(middle[1])))
        points.append(
            {
                "key": key,
                "style": key % STYLES,
                "name": name,
                "seeds": dots(*places),
                "cx": cx,
                "cy": cy,
                "shape": marker(key, cx, cy),
                "x": number(middle[0]),
                "y": number(middle[1]),
            }
        )
    _place_names(points, LEFT + width, TOP + height)
    return {
        "title": y_title,
        "across": x_title,
        "points": points,
        "bottom": TOP + height,
        "right": LEFT + width,
        "y_ticks": [(f"{TOP + height * (1 - float(up.share(value))):.1f}", text) for value, text in up.ticks],
        "x_ticks": [(f"{LEFT + width * float(across.share(value)):.1f}", text) for value, text in _few(across)],
        "table": {"head": [y_title], "rows": [(f"{p['name']}: {p['x']}", [p["y"]]) for p in points]},
    }


def _few(across: Axis, most: int = 7) -> list[tuple[float, str]]:
    return across.ticks[:: max(1, math.ceil(len(across.ticks) / most))]


def _place_names(points: list[dict[str, Any]], right: float, bottom: float, letter: float = 7.4) -> None:
    """Where the names stand: right, left, above or below their points, or a little away with a line that leads there,
    wherever they cover no other name and no point; a name without such a place is left to the tooltip and the figures.
    """
    taken = [(p["cx"] - 6, p["cy"] - 6, p["cx"] + 6, p["cy"] + 6) for p in points]
    labels = shortened([point["name"] for point in points], 15)
    for own, point in enumerate(points):
        short = labels[point["name"]]
        wide, x, y = letter * len(short), point["cx"], point["cy"]
        point |= {"short": "", "lead": ""}
        for distance in (0, 12, 24, 36):
            sides = [(x + 9 + distance, 4.0), (x - 9 - distance - wide, 4.0)]
            places = [(left, y + drop + shift) for left, drop in sides for shift in (0, -distance, distance)]
            places += [(x - wide / 2, y - 10 - distance), (x - wide / 2, y + 18 + distance)]
            free = [place for place in places if _free(place, wide, taken, own, right, bottom)]
            if free:
                left, base = free[0]
                taken.append((left, base - 9, left + wide, base + 2))
                point |= {"short": short, "label_x": f"{left:.1f}", "label_y": f"{base:.1f}"}
                if distance:
                    near = min(max(x, left), left + wide)
                    point["lead"] = f"M{x:.1f} {y:.1f}L{near:.1f} {base - 4:.1f}"
                break


def _free(
    place: tuple[float, float],
    wide: float,
    taken: list[tuple[float, float, float, float]],
    own: int,
    right: float,
    bottom: float,
) -> bool:
    """Whether a name lies inside the chart and on nothing but the point that it names."""
    left, base = place
    if left < LEFT + 2 or left + wide > right + RIGHT or base - 9 < 0 or base + 2 > bottom:
        return False
    return not any(
        left < end and start < left + wide and base - 9 < low and high < base + 2
        for i, (start, high, end, low) in enumerate(taken)
        if i != own
    )


def performance_profiles(profiles: pd.DataFrame, keys: Mapping[str, int]) -> dict[str, Any] | None:
    """Of each variant the share of its trials whose normalised score is above each value; None without any."""
    series = []
    for variant, own in profiles.groupby("variant", sort=False):
        key = keys[str(variant)]
        tau, share, low, high = (own[name].to_numpy(float)[::4] for name in ("tau", "share", "low", "high"))
        series.append(Series(str(variant), tau, share, low, high, style=key, key=key))
    across = [("tau", "normalised score")]
    chart = lines("Share of trials above the score", series, across, log=False, zero=True, heads=".2f")
    return chart and {**chart, "names": [line.name for line in series]}


def critical_difference_diagram(across: Across) -> dict[str, Any] | None:
    """Average ranks on a line, bars over variants that cannot be told apart (Demsar, "Statistical Comparisons of
    Classifiers over Multiple Data Sets", JMLR 7, 2006); None where Friedman's test was not made or did not reject.
    """
    tested, table = across.friedman, across.table
    if tested is None or tested.p > ALPHA:
        return None
    variants = table["variant"].tolist()
    average = table["average_rank"].to_numpy(float)
    count = len(variants)
    margin = 150
    low, high = 1.0, float(max(count, 2))

    def x(rank: float) -> float:
        return margin + (RANKS_WIDTH - 2 * margin) * (rank - low) / (high - low)

    letters = sorted({letter for tier in table["tier"] for letter in tier if letter.isalpha()})
    bars: list[tuple[str, str, int]] = []
    for letter in letters:
        inside = [rank for rank, tier in zip(average, table["tier"], strict=True) if letter in tier]
        if len(inside) > 1:
            bars.append((f"{x(min(inside)) - 3:.1f}", f"{x(max(inside)) + 3:.1f}", RANKS_TOP + 10 + 7 * len(bars)))
    first = RANKS_TOP + 26 + 7 * len(bars)
    half = -(-count // 2)
    names = []
    for i, (variant, rank) in enumerate(zip(variants, average.tolist(), strict=True)):
        left = i < half
        y = first + RANKS_STEP * (i if left else count - 1 - i)
        end = margin - 10 if left else RANKS_WIDTH - margin + 10
        text = f"{variant} {rank:.2f}"
        names.append({"path": f"M{x(rank):.1f} {RANKS_TOP}V{y}H{end}", "text": text, "y": y + 4, "left": left})
    distance = f"{tested.difference:.2f}"
    return {
        "width": RANKS_WIDTH,
        "height": first + RANKS_STEP * half,
        "top": RANKS_TOP,
        "bars": bars,
        "names": names,
        "ticks": [(f"{x(rank):.1f}", str(rank)) for rank in range(1, count + 1)],
        "margin": margin,
        "distance": distance,
        "end": f"{x(1) + (x(2) - x(1)) * tested.difference:.1f}",
        "told": ", ".join(f"{name} {rank:.2f}" for name, rank in zip(variants, average.tolist(), strict=True)),
    }
