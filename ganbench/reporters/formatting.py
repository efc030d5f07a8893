"""How numbers, ranges, names of metrics and p-values are written, on every page and in every table for people."""

from __future__ import annotations

from collections.abc import Mapping
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


def tick(value: float) -> str:
    """A number beside the tick of an axis: ``64k``, ``1.5M``."""
    for unit, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= unit and abs(value) < 1e12:
            return f"{value / unit:.3g}{letter}"
    return f"{value:.3g}" if value else "0"


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
