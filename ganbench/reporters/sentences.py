"""What the statistics say, in sentences and one small table: the same on a page, in Markdown and on a terminal."""

from __future__ import annotations

from typing import Any, NamedTuple

import pandas as pd

from ganbench.analysis.findings import Findings
from ganbench.analysis.stability import FAILURES, MEANINGS
from ganbench.analysis.statistics import true_coverage
from ganbench.reporters.sections import Section, number

ACROSS = (
    "Normalised score: 0 is a constant, 1 the floor; the interquartile mean over all trials, each dataset with the "
    "same weight, with a 95 % bootstrap interval over seeds on these datasets. A failed trial scores 0. The last "
    "columns are the performance profile: the share of trials above that score."
)
NARROW = (
    "With fewer than 40 trials of a variant that interval is too narrow: in simulation it held the true score in "
    "83 % of cases with 2 datasets of 5 seeds, in 90 % with 2 of 10; in 92 to 95 % with 8 of 5."
)
_TRIALS_OF_INTERVAL = 40
BEATS, MEANS, ALIKE, UNTESTED = "beats", "beats on the mean alone", "cannot be told apart", "were not tested"
_SHOWN_TAUS = (0.25, 0.5, 0.75)


class Overview(NamedTuple):
    """The table across datasets as text, and what is to be said about it."""

    headings: list[str]
    rows: list[list[str]]
    notes: list[str]


class Neighbours(NamedTuple):
    """Two variants that follow each other in a table, and what the test says of them, as text.

    Attributes:
        verdict: ``beats``, ``cannot be told apart``, ...
        seeds: how many a side would separate them; empty where they are, or where nobody can say.
    """

    better: str
    verdict: str
    other: str
    effect: str
    p: str
    seeds: str


def remarks(section: Section) -> list[str]:
    """Sentences about a section: what its intervals cover, ranks without failures, interquartile means, neighbours."""
    return [*general(section), *(_sentence(pair) for pair in neighbours(section))]


def general(section: Section) -> list[str]:
    """What ``remarks`` say of the whole table."""
    found = [_coverage(section.rows)]
    if section.findings is None:
        return [text for text in found if text]
    ranks, means, pairs = (
        _own(table, section)
        for table in (section.findings.ranks, section.findings.interquartile_means, section.findings.neighbours)
    )
    failed = bool(section.rows.loc[section.rows["rank"].notna(), "failed"].any())
    found += [_without_failures(ranks) if failed else "", _means(means)]
    if len(pairs) and pairs["p"].isna().all():
        found.append("Too few seeds to test anything: it takes 5 of each variant.")
    return [text for text in found if text]


def neighbours(section: Section) -> list[Neighbours]:
    """What separates each variant of a table from the next, or would."""
    if section.findings is None:
        return []
    return [_pair(pair) for pair in _own(section.findings.neighbours, section).to_dict("records")]


def overview(leaderboard: pd.DataFrame) -> Overview | None:
    """The table across datasets; None for a single dataset, without rows where no two variants can be compared."""
    findings: Findings | None = leaderboard.attrs.get("findings")
    if findings is None or len(findings.across.attrs["datasets"]) < 2:
        return None
    table, profiles = findings.across, findings.profiles
    # The grid is made of whole hundredths, give or take an ulp.
    above = {
        (name, round(tau, 2)): share
        for name, tau, share in zip(profiles["variant"], profiles["tau"], profiles["share"], strict=True)
    }
    tested = any(tier != "?" for tier in table["tier"])
    rows = [
        [
            *(row["variant"], f"{row['average_rank']:.2f}", *([row["tier"]] if tested else [])),
            *(f"{number(row['score'])} {_span(row, 'score_low', 'score_high')}".strip(),),
            *(_percent(above.get((row["variant"], tau))) for tau in _SHOWN_TAUS),
        ]
        for row in table.to_dict("records")
    ]
    tier = ["Tier"] if tested else []
    headings = ["Variant", "Average rank ↓", *tier, "Normalised score ↑", *(f"Above {tau}" for tau in _SHOWN_TAUS)]
    names = ", ".join(table.attrs["datasets"])
    told = [f"{len(table.attrs['datasets'])} datasets: {names}.", *table.attrs["notes"]]
    if rows:
        told += [ACROSS, NARROW] if table["trials"].min() < _TRIALS_OF_INTERVAL else [ACROSS]
    return Overview(headings, rows, told)


def _own(table: pd.DataFrame, section: Section) -> pd.DataFrame:
    return table[(table["dataset"] == section.dataset) & (table["protocol"] == section.protocol)]


def _coverage(rows: pd.DataFrame) -> str:
    """Which share of such intervals hold the true median."""
    by_share: dict[str, list[str]] = {}
    for n in sorted({int(n) for n in rows["seeds"] - rows["failed"] if n > 1}):
        by_share.setdefault(_percent(true_coverage(n)), []).append(str(n))
    told = [f"{share} ({', '.join(numbers)} completed seeds)" for share, numbers in by_share.items()]
    return f"An interval holds the true median in this share of repetitions: {'; '.join(told)}." if told else ""


def _without_failures(ranks: pd.DataFrame) -> str:
    told = []
    for row in ranks.to_dict("records"):
        if pd.isna(row["rank_completed"]):
            told.append(f"{row['variant']} would have no rank")
        elif row["rank_completed"] != row["rank"]:
            told.append(f"{row['variant']} would be rank {row['rank_completed']} instead of {row['rank']}")
    return f"Without the failed trials {', '.join(told) or 'the ranks are the same'}."


def _means(means: pd.DataFrame) -> str:
    told = [f"{m['variant']} {number(m['value'])} {_span(m, 'low', 'high')}" for m in means.to_dict("records")]
    return f"Interquartile means [95 %], from 8 completed seeds on: {', '.join(told)}." if told else ""


def _pair(pair: dict[Any, Any]) -> Neighbours:
    first, second, p, effect = pair["variant"], pair["next"], pair["p"], pair["effect"]
    shown = "" if pd.isna(p) else f"{p:.2g}"
    if pair["separated"]:
        if pair["better"] == second:
            # Failures or a long tail: the test compares means, the ranks medians.
            return Neighbours(second, MEANS, first, f"{1 - effect:.2f}", shown, "")
        return Neighbours(first, BEATS, second, f"{effect:.2f}", shown, "")
    needed = pair["seeds_needed"]
    verdict = UNTESTED if pd.isna(p) else ALIKE
    return Neighbours(first, verdict, second, f"{effect:.2f}", shown, "" if pd.isna(needed) else f"{needed:,}")


def _sentence(pair: Neighbours) -> str:
    numbers = f"P {pair.effect}{f', p {pair.p}' if pair.p else ''}"
    if pair.verdict == BEATS:
        return f"{pair.better} beats {pair.other}: {numbers}."
    if pair.verdict == MEANS:
        return f"{pair.better} beats {pair.other} on the mean that is tested, not in the median: {numbers}."
    # Empty without a difference, without a spread (a single seed each), and above 10,000.
    unknown = "these trials do not say how many seeds would separate them"
    seeds = f"about {pair.seeds} seeds a side would separate them" if pair.seeds else unknown
    return f"{pair.better} and {pair.other} {pair.verdict}: {numbers}; {seeds}."


def _span(row: dict[Any, Any], low: str, high: str) -> str:
    return "" if pd.isna(row[low]) else f"[{number(row[low])}, {number(row[high])}]"


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.4g} %"


class Judged(NamedTuple):
    """Trials of one section with the same verdict, other than stable: the word, what it means, a line a trial."""

    word: str
    meaning: str
    trials: list[str]


def judged(section: Section, trials: pd.DataFrame) -> list[Judged]:
    """What went wrong in training: every trial whose verdict is a failure, with figures and place, by verdict."""
    own = trials[(trials["dataset"] == section.dataset) & (trials["protocol"] == section.protocol)]
    found = []
    for word in FAILURES:
        lines = []
        for _, trial in own[own["verdict"] == word].iterrows():
            note = f" ({trial['note']})" if trial["note"] else ""
            place = "" if pd.isna(trial["verdict_images"]) else f" at {trial['verdict_images']:,} images"
            if not place and not pd.isna(trial["verdict_step"]):
                place = f" at step {trial['verdict_step']:,}"
            figures = f": {trial['evidence']}" if trial["evidence"] else ""
            lines.append(f"{trial['variant']}, seed {trial['seed']}{place}{note}{figures}")
        if lines:
            found.append(Judged(word, MEANINGS[word], lines))
    return found
