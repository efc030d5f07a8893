"""The tables of a leaderboard, one for each dataset and protocol: their columns, headings, cells and warnings."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from msgspec import UNSET

from ganbench.analysis.statistics import Spread
from ganbench.metrics.bias import bias_warnings
from ganbench.plugin.report import Report
from ganbench.reporters.formatting import ARROWS, interval, number
from ganbench.results.schema import Record
from ganbench.results.store import abridged

LEGEND = (
    "Median over seeds [interval]; variants that share a tier letter cannot be told apart, "
    "? has fewer than 5 seeds; ideal sampler (the floor): what real samples of the other split score in place "
    "of a model's, the mean over ten draws ± their standard deviation."
)
FIRST, LAST = ("rank", "tier", "variant"), ("verdict", "seeds", "failed")  # columns around the primary metric
# What stands right after the metric that ranks, because it sees what that one misses: docs/metrics.md.
BESIDE = {"recovered_mass": "coverage", "mode_kl": "modes"}
HEADINGS = {name: name.capitalize() for name in (*FIRST, *LAST)}
PAIRS = (
    "P is the share of pairs of trials in which the better one scores better, p is from Welch's test (from a "
    "permutation test where a fifth of the scores are ties), after Holm over all pairs of the table. Ranks go by "
    "medians; letters and p compare means, of logarithms where lower is better, in which every failed or collapsed "
    "trial counts: rows with equal medians can be told apart. Seeds named separate two variants with power 0.8 if they "
    "differ as much as seen here [95 % interval]. Choose the number of seeds before looking: adding some where a test "
    "was close, and testing again, finds differences that are not there more often than in 5 % of cases."
)


@dataclass(frozen=True, eq=False)
class Section:
    """One dataset under one protocol: the part of a leaderboard in which ranks compare.

    Attributes:
        rows: its rows of the leaderboard.
        trials: its rows of the table of trials.
        metrics: the primary metric, the one that is read beside it, then the others that have a value here.
        facts: fields of the protocol by name; empty where the report does not say.
        centres: first two coordinates of the true modes (k, 2) of a dataset of points; empty for others.
        sizes: ``n`` rows a side and ``d`` features; empty where the records do not say.
        faults: a sentence on each metric that failed.
    """

    report: Report
    dataset: str
    extractor: str
    protocol: str
    rows: pd.DataFrame
    trials: pd.DataFrame
    metrics: list[str]
    facts: dict[str, Any]
    centres: list[list[float]]
    sizes: dict[str, int]
    faults: list[str]

    def label(self, metric: str) -> str:
        """``FID``."""
        return str(self.report.metrics.get(metric, {}).get("label", metric))

    def title(self, metric: str) -> str:
        """``FID (digits-cnn)``: never a bare score."""
        return f"{self.label(metric)} ({self.extractor})"

    def direction(self, metric: str) -> str:
        """``min``, ``max``, ``none``, or nothing where the report does not say."""
        return str(self.report.metrics.get(metric, {}).get("direction", ""))

    def arrow(self, metric: str) -> str:
        """Which way is better: an arrow after a space, or nothing."""
        return ARROWS.get(self.direction(metric), "")

    def heading(self, metric: str) -> str:
        """``FID (digits-cnn) ↓``."""
        return self.title(metric) + self.arrow(metric)

    def floor(self, metric: str) -> str:
        """What an ideal sampler scores, ``0.174 ± 0.030``; one figure a section."""
        known = [self.rows[name].dropna() for name in (f"{metric}_floor", f"{metric}_floor_sd") if name in self.rows]
        return " ± ".join(number(part.iloc[0]) for part in known if len(part))

    def own(self, table: pd.DataFrame) -> pd.DataFrame:
        """The rows of ``table`` that are about this section."""
        return table[(table["dataset"] == self.dataset) & (table["protocol"] == self.protocol)]

    def shows(self, column: str) -> bool:
        """Whether the table has that column: all, or those that somebody asked for."""
        return not self.report.columns or column in self.report.columns

    @property
    def preset(self) -> str:
        """The name of the published protocol under which its samples were scored, or ""."""
        return str(self.rows["preset"].iloc[0])

    @property
    def conditions(self) -> str:
        """One sentence on the protocol, as far as its fields are known."""
        facts = self.facts
        if not facts:
            return f"Protocol {self.protocol}: scores by {self.extractor}."
        fewer = " or ".join(f"{n:,}" for n in sorted(facts.get("curve_samples", ())))
        named = f" ({self.preset})" if self.preset else ""
        floor = " The ideal sampler's are held-out samples." if facts["split"] == "train" else ""
        return (
            f"Protocol {self.protocol}{named}: {facts['budget_images']:,} training images in batches of "
            f"{facts['batch_size']:,}, {facts['precision']}, {facts['engine']} engine; {facts['samples']:,} samples "
            f"scored by {self.extractor} against the {facts['split']} split at each of {facts['evaluations']:,} "
            f"evaluations{f' ({fewer} before the last)' if fewer else ''}.{floor}"
        )

    @property
    def warnings(self) -> list[str]:
        """Which metrics failed, and which scores of the table are mostly bias."""
        if not self.sizes:
            return self.faults
        biased = bias_warnings([self.report.metrics.get(metric, {}) for metric in self.metrics], **self.sizes)
        return [*self.faults, *biased]


def sections(report: Report) -> list[Section]:
    """The tables of the leaderboard, each ranked apart, in its order."""
    found = []
    board = report.leaderboard
    # A table that a caller made, or an earlier version, need not say more than ranks and scores.
    said: dict[str, Any] = dict.fromkeys(("preset", "notes", "given", "true_family", "against_control"), "")
    said |= dict.fromkeys(("p_control", *Spread._fields), math.nan)
    board = board.assign(**{name: value for name, value in said.items() if name not in board.columns})
    metrics = [name for name in board.columns if f"{name}_low" in board.columns]
    trials = dict(iter(report.trials.groupby(["dataset", "protocol"], sort=False)))
    records: dict[tuple[str, str], list[Record]] = {}
    for record in abridged(report.records):
        records.setdefault((record.identity.trial.dataset, record.identity.protocol), []).append(record)
    for names, rows in board.groupby(["dataset", "extractor", "protocol"], sort=False):
        dataset, extractor, protocol = map(str, names)
        content = dataset.partition("@")[0]
        primary = report.primary.get(content)
        # The primary metric stands there even if every trial failed: its floor and empty cells say so.
        own = records.get((content, protocol), [])
        failed = {m for record in own for m, about in record.metrics.items() if about.status is not UNSET}
        places = {m: about.position for record in own for m, about in record.metrics.items()}
        shown = [m for m in metrics if m in failed or rows[m].notna().any()]
        # Those of another dataset may stand in another order.
        shown.sort(key=lambda m: (m != BESIDE.get(str(primary)), places.get(m, len(metrics))))
        present = [m for m in metrics if m == primary] + [m for m in shown if m != primary]
        found.append(
            Section(
                report=report,
                dataset=dataset,
                extractor=extractor,
                protocol=protocol,
                rows=rows,
                trials=trials.get((dataset, protocol), report.trials[:0]),
                metrics=present,
                facts=dict(report.protocols.get(protocol, {})),
                centres=report.centres.get(content, []),
                sizes=dict(report.sizes.get(content, {}).get(protocol, {})),
                faults=_faults(own, metrics),
            )
        )
    return found


def _faults(records: Sequence[Record], metrics: Iterable[str]) -> list[str]:
    """What to say of metrics that failed in some of a section's trials."""
    found = []
    for metric in metrics:
        columns = [(r, about) for r in records if (about := r.metrics.get(metric)) is not None]
        notes = [(record, about.note) for record, about in columns if isinstance(about.note, str)]
        if notes:
            ended = [record for record, about in columns if about.status is not UNSET]
            cells = f"; {len(ended)} of {len(records)} trials have no value" if ended else ""
            ranked = " and are not ranked" if any(record.primary == metric for record in ended) else ""
            first, note = notes[0]
            found.append(f"{note} ({first.label}, seed {first.identity.trial.seed}){cells}{ranked}")
        found += sorted({about.floor_note for _, about in columns if isinstance(about.floor_note, str)})
    return found


def marks(row: Any) -> list[str]:
    """What sets a row apart from the others: ``given labels``, ``true family``."""
    return [f"given {row['given']}"] * bool(row["given"]) + ["true family"] * bool(row["true_family"])


def judged(row: Any) -> str:
    """How trainings went, and what qualifies that: ``4 stable, 1 collapsed (2 undertrained, coarse)``."""
    notes = [note.removeprefix(f"{row['seeds']} ") for note in row["notes"].split(", ")]  # all: no number
    return f"{row['verdict']} ({', '.join(notes)})" if row["notes"] else str(row["verdict"])


def score_interval(row: Any, metric: str) -> str:
    """``[2.10, 2.90]`` over seeds; nothing where fewer than two trials have a score."""
    if row["seeds"] - row["failed"] < 2:
        return ""
    return interval(row[f"{metric}_low"], row[f"{metric}_high"])


def cells(section: Section) -> tuple[list[str], list[list[str]]]:
    """Headings and rows of a section as text; the last row holds the floors.

    By default rank, tier, variant, the primary metric, verdict, seeds, failures and the other metrics.
    """
    chosen = section.report.columns
    main, rest = section.metrics[:1], section.metrics[1:]
    names = [
        name
        for name in chosen
        if name in section.metrics or (name in section.rows and f"{name}_low" not in section.rows)
    ]
    names = names or [*FIRST, *main, *LAST, *rest]
    rows = [[_cell(section, row, name) for name in names] for _, row in section.rows.iterrows()]
    floors = {"variant": "ideal sampler"} | {metric: section.floor(metric) for metric in section.metrics}
    return [_heading(section, name) for name in names], [*rows, [floors.get(name, "") for name in names]]


def _heading(section: Section, name: str) -> str:
    return section.heading(name) if name in section.metrics else HEADINGS.get(name, name)


def _cell(section: Section, row: Any, name: str) -> str:
    if name in section.metrics:
        return f"{number(row[name])} {score_interval(row, name)}".strip()
    if name == "variant":
        return f"{row['variant']} ({', '.join(marks(row))})" if marks(row) else str(row["variant"])
    if name == "verdict":
        return judged(row)
    value = row[name]
    return value if isinstance(value, str) else "" if pd.isna(value) else number(value)
