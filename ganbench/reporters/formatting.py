"""How numbers, ranges, names of metrics and p-values are written, on every page and in every table for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import Any

import pandas as pd

from ganbench.analysis.comparison import seed_ranges
from ganbench.results.schema import MetricColumn

ARROWS = {"min": " ↓", "max": " ↑"}


def number(value: Any) -> str:
    """Three significant digits, whole numbers as they are, and an empty cell for what is missing."""
    if value is None or pd.isna(value):
        return ""
    if abs(value) >= 1e6:
        return f"{value:.2e}"
    if value == int(value) or abs(value) >= 999.5:
        return f"{value:.0f}"
    return f"{value:#.3g}".removesuffix(".")


def thousands(value: float | None) -> str:
    """A cost: whole numbers with commas, smaller ones to three digits."""
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 99.5 else number(value)


def tick(value: float, digits: int = 3) -> str:
    """A number beside the tick of an axis: ``64k``, ``1.5M``."""
    for unit, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= unit and abs(value) < 1e12:
            return f"{value / unit:.{digits}g}{letter}"
    return f"{value:.{digits}g}" if value else "0"


def ticks(values: Sequence[float]) -> list[tuple[float, str]]:
    """The ticks of an axis with their labels, in as many digits as tell them apart."""
    for digits in range(3, 16):
        labels = [tick(value, digits) for value in values]
        if len(set(labels)) == len(labels):
            break
    return list(zip(values, labels, strict=True))


def shortened(names: Sequence[str], most: int) -> dict[str, str]:
    """Labels of at most ``most`` characters: names that are longer are cut where they agree, not where they differ."""
    alike: dict[str, list[str]] = {}
    for name in dict.fromkeys(names):
        alike.setdefault(name if len(name) <= most else f"{name[: most - 1]}…", []).append(name)
    found: dict[str, str] = {}
    for label, several in alike.items():
        labels = [label] if len(several) == 1 else _middles(several, most)
        if len(set(labels)) < len(labels):
            labels = [f"{name[: most - 1 - len(str(i))]}…{i}" for i, name in enumerate(several, start=1)]
        found |= zip(several, labels, strict=True)
    return found


def _middles(names: Sequence[str], most: int) -> list[str]:
    """Beginnings, and after an ellipsis what the names differ in, with the word that it belongs to if that fits."""
    first = _agreeing(names)
    behind = _agreeing([name[first:][::-1] for name in names])
    end = names[0][-1:] if behind == 1 else "…" * bool(behind)
    for start in (max(names[0].rfind(mark, 0, first) for mark in "[, -_") + 1, first):
        middles = [name[start : len(name) - behind] + end for name in names]
        if max(map(len, middles)) < most:
            rooms = [most - len(middle) for middle in middles]
            return [
                (name[:start] if start <= room else f"{name[: room - 1]}…") + middle
                for name, middle, room in zip(names, middles, rooms, strict=True)
            ]
    return [f"{name[: most // 3]}…{name[first : first + most - most // 3 - 1]}" for name in names]


def _agreeing(names: Sequence[str]) -> int:
    """With how many characters all of them begin."""
    return sum(1 for _ in takewhile(lambda letters: len(set(letters)) == 1, zip(*names, strict=False)))


def interval(low: Any, high: Any) -> str:
    """``[2.10, 2.90]``; nothing where it is missing."""
    return "" if pd.isna(low) else f"[{number(low)}, {number(high)}]"


def percent(share: float | None) -> str:
    """``25 %``; nothing for None."""
    return "" if share is None else f"{100 * share:.4g} %"


def p_value(value: Any) -> str:
    """A p-value to two digits; nothing where no test was made."""
    return "" if pd.isna(value) else f"{value:.2g}"


def seeds(values: Any) -> str:
    """``0–4, 7``."""
    return seed_ranges(values, dash="–", comma=", ")


def ordered(metrics: Mapping[str, MetricColumn]) -> list[str]:
    """The metrics of a record in the order in which tables show them."""
    return sorted(metrics, key=lambda name: (metrics[name].position, name))


def titled(about: MetricColumn, extractor: str) -> str:
    """``FID (digits-cnn)``: no score is shown without what made its features."""
    return f"{about.label} ({extractor})" if extractor else about.label
