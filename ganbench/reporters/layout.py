"""What the formats for people share: which columns a table has, what they are called, how a number is written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

HEAD = ["dataset", "extractor", "protocol", "rank", "tier", "variant", "seeds", "failed", "verdict"]
ARROWS = {"min": " ↓", "max": " ↑"}


@dataclass(frozen=True)
class Section:
    """One (dataset, protocol) of a leaderboard: its rows, the metrics that have values in it, and what those are.

    ``about`` maps a metric to its ``label`` and ``direction``, as the records say.
    """

    dataset: str
    extractor: str
    protocol: str
    rows: pd.DataFrame
    metrics: list[str]
    about: dict[str, Any]


def sections(leaderboard: pd.DataFrame) -> list[Section]:
    """The leaderboard's tables, each ranked apart. Labels come from ``leaderboard.attrs["metrics"]``."""
    found = []
    metrics = [c for c in leaderboard.columns if c not in HEAD and not c.endswith(("_low", "_high", "_floor"))]
    for (dataset, extractor, protocol), rows in leaderboard.groupby(["dataset", "extractor", "protocol"], sort=False):
        present = [m for m in metrics if rows[m].notna().any()]
        found.append(
            Section(str(dataset), str(extractor), str(protocol), rows, present, leaderboard.attrs.get("metrics", {}))
        )
    return found


def heading(section: Section, metric: str) -> str:
    """``FID (digits-cnn) ↓``: never a bare score, and which way is better."""
    about = section.about.get(metric, {})
    return f"{about.get('label', metric)} ({section.extractor}){ARROWS.get(about.get('direction', ''), '')}"


def number(value: Any) -> str:
    """Three significant digits, and an empty cell for what is missing."""
    if value is None or pd.isna(value):
        return ""
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def interval(row: Any, metric: str) -> str:
    """``2.31 [2.1, 2.9]``: the median and its interval over seeds."""
    if pd.isna(row[metric]):
        return ""
    low, high = row[f"{metric}_low"], row[f"{metric}_high"]
    return number(row[metric]) + ("" if pd.isna(low) else f" [{number(low)}, {number(high)}]")


def floor(section: Section, metric: str) -> str:
    """What as many real images score; one figure a section."""
    values = section.rows[f"{metric}_floor"].dropna()
    return number(values.iloc[0]) if len(values) else ""


def cells(section: Section) -> tuple[list[str], list[list[str]]]:
    """Headings and rows of a section as text; the last row holds the floors."""
    headings = ["Rank", "Tier", "Variant", "Seeds", "Failed", "Verdict"]
    headings += [heading(section, metric) for metric in section.metrics]
    rows = [
        [
            "" if pd.isna(row["rank"]) else str(row["rank"]),
            row["tier"],
            row["variant"],
            str(row["seeds"]),
            str(row["failed"]),
            row["verdict"],
            *(interval(row, metric) for metric in section.metrics),
        ]
        for _, row in section.rows.iterrows()
    ]
    return headings, [*rows, ["", "", "floor", "", "", "", *(floor(section, metric) for metric in section.metrics)]]
