"""What the formats for people share: which columns a table has, what they are called, how a number is written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from ganbench.analysis.findings import Findings
from ganbench.metrics.bias import bias_warnings
from ganbench.results.schema import MetricColumn

ARROWS = {"min": " ↓", "max": " ↑"}
LEGEND = (
    "Median over seeds [interval]; variants that share a tier letter cannot be told apart, "
    "? has fewer than 5 seeds; floor: what as many real samples score."
)
PAIRS = (
    "P is the share of pairs of trials in which the better one scores better, p is from Welch's test, after Holm over "
    "all pairs of the table; the seeds named separate two variants with power 0.8 if they differ as much as seen here."
)


@dataclass(frozen=True)
class Section:
    """One (dataset, protocol) of a leaderboard: its rows, and the primary metric and those that have values in it.

    Attributes:
        about: of each metric ``label`` and ``direction``, as the records say.
        facts: fields of the protocol by name; empty where the leaderboard does not say.
        centres: true modes ``(k, 2)`` of a dataset of points; empty for others.
        sizes: ``n`` rows a side and ``d`` features; empty where the records do not say.
        findings: what the statistics say, of all sections; None where the leaderboard does not say.
    """

    dataset: str
    extractor: str
    protocol: str
    rows: pd.DataFrame
    metrics: list[str]
    about: dict[str, Any]
    facts: dict[str, Any]
    centres: list[list[float]]
    sizes: dict[str, int]
    findings: Findings | None


def sections(leaderboard: pd.DataFrame) -> list[Section]:
    """The leaderboard's tables, each ranked apart.

    ``leaderboard.attrs`` says what they mean: ``metrics`` by name, ``protocols`` by their eight digits, ``primary``
    metric and ``centres`` by dataset, ``sizes`` by dataset and protocol, and the ``findings``.
    """
    about, protocols, primary, centres, sizes = (
        leaderboard.attrs.get(name, {}) for name in ("metrics", "protocols", "primary", "centres", "sizes")
    )
    findings = leaderboard.attrs.get("findings")
    found = []
    metrics = [name for name in leaderboard.columns if f"{name}_low" in leaderboard.columns]
    for names, rows in leaderboard.groupby(["dataset", "extractor", "protocol"], sort=False):
        dataset, extractor, protocol = map(str, names)
        content = dataset.partition("@")[0]
        # The primary metric stands there even if every trial failed: its floor and empty cells say so.
        present = [m for m in metrics if rows[m].notna().any() or m == primary.get(content)]
        first = [m for m in present if m == primary.get(content)]
        present = first + [m for m in present if m not in first]
        facts, size = protocols.get(protocol, {}), sizes.get(content, {}).get(protocol, {})
        modes = centres.get(content, [])
        found.append(Section(dataset, extractor, protocol, rows, present, about, facts, modes, size, findings))
    return found


def heading(section: Section, metric: str) -> str:
    """``FID (digits-cnn) ↓``: never a bare score, and which way is better."""
    return f"{label(section, metric)} ({section.extractor}){arrow(section, metric)}"


def label(section: Section, metric: str) -> str:
    return str(section.about.get(metric, {}).get("label", metric))


def arrow(section: Section, metric: str) -> str:
    return ARROWS.get(section.about.get(metric, {}).get("direction", ""), "")


def ordered(metrics: Mapping[str, MetricColumn]) -> list[str]:
    """The metrics of a record in the order in which tables show them."""
    return sorted(metrics, key=lambda name: (metrics[name].position, name))


def titled(about: MetricColumn, extractor: str) -> str:
    """``FID (digits-cnn)``: no score is shown without what made its features."""
    return f"{about.label} ({extractor})" if extractor else about.label


def thousands(value: float | None) -> str:
    """A cost: whole numbers with commas, smaller ones to three digits."""
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 99.5 else number(value)


def number(value: Any) -> str:
    """Three significant digits, whole numbers as they are, and an empty cell for what is missing."""
    if value is None or pd.isna(value):
        return ""
    if abs(value) >= 1e6:
        return f"{value:.2e}"
    if value == int(value) or abs(value) >= 999.5:
        return f"{value:.0f}"
    return f"{value:#.3g}".removesuffix(".")


def interval(row: Any, metric: str) -> str:
    """``[2.10, 2.90]`` over seeds; nothing where fewer than two trials have a score."""
    low, high = row[f"{metric}_low"], row[f"{metric}_high"]
    if pd.isna(low) or row["seeds"] - row["failed"] < 2:
        return ""
    return f"[{number(low)}, {number(high)}]"


def floor(section: Section, metric: str) -> str:
    """What as many real images score; one figure a section."""
    values = section.rows[f"{metric}_floor"].dropna()
    return number(values.iloc[0]) if len(values) else ""


def conditions(section: Section) -> str:
    """One sentence on the protocol, as far as its fields are known."""
    facts = section.facts
    if not facts:
        return f"Protocol {section.protocol}: scores by {section.extractor}."
    return (
        f"Protocol {section.protocol}: {facts['budget_images']:,} training images in batches of "
        f"{facts['batch_size']:,}, {facts['precision']}, {facts['engine']} engine; {facts['samples']:,} samples scored "
        f"by {section.extractor} against the {facts['split']} split at each of {facts['evaluations']:,} evaluations."
    )


def warnings(section: Section) -> list[str]:
    """Which scores of the table are mostly bias."""
    if not section.sizes:
        return []
    return bias_warnings([section.about.get(metric, {}) for metric in section.metrics], **section.sizes)


def seeds(values: Iterable[int]) -> str:
    """``0–4, 7``."""
    runs: list[list[int]] = []
    for seed in sorted(set(map(int, values))):
        if runs and seed == runs[-1][1] + 1:
            runs[-1][1] = seed
        else:
            runs.append([seed, seed])
    return ", ".join(f"{low}" if low == high else f"{low}–{high}" for low, high in runs)


def cells(section: Section) -> tuple[list[str], list[list[str]]]:
    """Headings and rows of a section as text, the primary metric first; the last row holds the floors."""
    main, rest = section.metrics[:1], section.metrics[1:]
    headings = ["Rank", "Tier", "Variant", *(heading(section, m) for m in main), "Verdict", "Seeds", "Failed"]
    headings += [heading(section, metric) for metric in rest]
    rows = []
    for _, row in section.rows.iterrows():
        scores = {m: f"{number(row[m])} {interval(row, m)}".strip() for m in section.metrics}
        rows.append(
            [
                *("" if pd.isna(row["rank"]) else str(row["rank"]), row["tier"], row["variant"]),
                *(scores[metric] for metric in main),
                *(row["verdict"], str(row["seeds"]), str(row["failed"])),
                *(scores[metric] for metric in rest),
            ]
        )
    floors = {m: floor(section, m) for m in section.metrics}
    rows.append(["", "", "floor", *(floors[m] for m in main), "", "", "", *(floors[m] for m in rest)])
    return headings, rows
