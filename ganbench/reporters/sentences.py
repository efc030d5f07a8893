"""The sentences and the small table below a leaderboard: the same on a page, in Markdown and on a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from math import comb, log
from typing import Any, NamedTuple

import pandas as pd

from ganbench.analysis.agreement import agreement
from ganbench.analysis.findings import SEEDS_NEEDED
from ganbench.analysis.stability import MEANINGS, UNSTABLE
from ganbench.analysis.statistics import ALPHA, MINIMUM_SEEDS, power_of_welch, true_coverage
from ganbench.plugin.report import Report
from ganbench.reporters.formatting import interval, number, p_value, percent
from ganbench.reporters.sections import Section

APART = "given the classes of the data: ranked apart from the others, among themselves"
FAMILY = "it fits the family of distributions that the data were drawn from, which no other variant knows"
CONTROL = (
    "Against the control, which is the plain loss on the networks that the variants of a loss share (one test a "
    "variant, Holm over {tests}): {told}."
)
ACROSS = (
    "Normalised score: 0 is a constant, 1 the ideal sampler; the interquartile mean over all trials, each dataset "
    "with the same weight, with a 95 % bootstrap interval over seeds on these datasets. A failed trial scores 0. The "
    "last columns are the performance profile: the share of trials above that score."
)
NARROW = (
    "With fewer than 40 trials of a variant that interval is too narrow: in simulation it held the true score in "
    "83 % of cases with 2 datasets of 5 seeds, in 90 % with 2 of 10; in 92 to 95 % with 8 of 5."
)
_TRIALS_OF_INTERVAL = 40
USUAL_SPREAD = 0.3  # standard deviation over seeds of the logarithm of a score
BEATS, MEANS, ALIKE, UNTESTED = "beats", "beats on the mean alone", "cannot be told apart", "were not tested"
_SHOWN_TAUS = (0.25, 0.5, 0.75)


class AcrossTable(NamedTuple):
    """The table across datasets as text, and the sentences below it."""

    headings: list[str]
    rows: list[list[str]]
    notes: list[str]


class NeighbourTest(NamedTuple):
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


def sentences(section: Section) -> list[str]:
    """What intervals cover, ranks without failures, interquartile means, and whether neighbours differ."""
    return [*about_table(section), *map(_sentence, about_neighbours(section))]


def about_table(section: Section) -> list[str]:
    """The sentences on the whole table of a section."""
    found, findings = [_coverage(section.rows), *_unequal(section.rows)], section.report.findings
    found += [_spread(section), _against_control(section.rows), _power(section.rows), _agreement(section)]
    if findings is not None:
        pairs = section.own(findings.neighbours)
        if section.rows.loc[section.rows["rank"].notna(), "failed"].any():
            found.append(_without_failures(section.own(findings.ranks)))
        found.append(_means(section.own(findings.interquartile_means)))
        if len(pairs) and pairs["p"].isna().all():
            found.append("Too few seeds to test anything: it takes 5 of each variant.")
    return [text for text in found if text]


def _agreement(section: Section) -> str:
    """How far other metrics rank as the primary one does."""
    directions = {metric: section.direction(metric) for metric in section.metrics}
    primary = section.metrics[0] if section.metrics else ""
    pairs = agreement(section.rows, directions, first=primary)
    pairs = pairs.sort_values("spearman", kind="stable", ascending=False)
    told = [
        f"{section.title(pair['second'])} {pair['spearman']:.2f} [{pair['low']:.2f}, {pair['high']:.2f}]"
        for pair in pairs.to_dict("records")
    ]
    text = f"Rank correlation with {section.title(primary)} over variants (Spearman, 1 is the same ranking) [95 %]: "
    return text + ", ".join(told) + "." if told else ""


def about_neighbours(section: Section) -> list[NeighbourTest]:
    """Whether each variant of a table can be told from the next, or how many seeds it would take."""
    findings = section.report.findings
    return [] if findings is None else [_pair(pair) for pair in section.own(findings.neighbours).to_dict("records")]


def across_datasets(report: Report) -> AcrossTable | None:
    """The table across datasets; None for a single dataset, without rows where no two variants can be compared."""
    findings = report.findings
    if findings is None or len(findings.across.datasets) < 2:
        return None
    across, profiles = findings.across, findings.profiles
    # The grid is made of whole hundredths, give or take an ulp.
    above = {
        (name, round(tau, 2)): share
        for name, tau, share in zip(profiles["variant"], profiles["tau"], profiles["share"], strict=True)
    }
    tested = across.friedman is not None
    rows = []
    for row in across.table.to_dict("records"):
        name, score = row["variant"], f"{number(row['score'])} {interval(row['score_low'], row['score_high'])}".strip()
        tier = [row["tier"]] if tested else []
        shares = [percent(above.get((name, tau))) for tau in _SHOWN_TAUS]
        rows.append([name, f"{row['average_rank']:.2f}", *tier, score, *shares])
    tier = ["Tier"] if tested else []
    headings = ["Variant", "Average rank ↓", *tier, "Normalised score ↑", *(f"Above {tau}" for tau in _SHOWN_TAUS)]
    told = [f"{len(across.datasets)} datasets: {', '.join(across.datasets)}.", *across.notes]
    if rows:
        narrow = across.table["score_low"].notna().any() and across.table["trials"].min() < _TRIALS_OF_INTERVAL
        told += [ACROSS, NARROW] if narrow else [ACROSS]
    return AcrossTable(headings, rows, told)


def _coverage(rows: pd.DataFrame) -> str:
    """Which share of such intervals hold the true median."""
    by_share: dict[str, list[str]] = {}
    for n in sorted({int(n) for n in rows["seeds"] - rows["failed"] if n > 1}):
        by_share.setdefault(percent(true_coverage(n)), []).append(str(n))
    told = [f"{share} ({', '.join(numbers)} completed seeds)" for share, numbers in by_share.items()]
    return f"An interval holds the true median in this share of repetitions: {'; '.join(told)}." if told else ""


def _spread(section: Section) -> str:
    """What of the primary metric's spread is the training, and what the samples that were drawn."""
    rows = section.rows[section.rows["rank"].notna() & section.rows["seed_sd"].notna()]
    if not section.metrics or rows.empty:
        return ""
    told = [f"{row['variant']} {number(row['seed_sd'])} + {number(row['sampling_sd'])}" for _, row in rows.iterrows()]
    return (
        f"Standard deviation of {section.label(section.metrics[0])} over trainings by other seeds + over other samples "
        f"of one training; more seeds narrow the first, more samples the second: {', '.join(told)}."
    )


def _unequal(rows: pd.DataFrame) -> list[str]:
    """What is said of variants that know more than others."""
    given, family = (rows.loc[rows[name] != "", "variant"].tolist() for name in ("given", "true_family"))
    found = [f"{', '.join(given)}: {APART}."] if given else []
    return [*found, *(f"{name}: {FAMILY}." for name in family)]


def _against_control(rows: pd.DataFrame) -> str:
    """Which ideas beat the plain loss on the same networks."""
    tested = rows[rows["p_control"].notna()]
    if tested.empty:
        return ""
    told = []
    for conclusion in ("better", "worse", "no evidence"):
        names = [
            row["variant"] if conclusion == "no evidence" else f"{row['variant']} (p {p_value(row['p_control'])})"
            for row in tested[tested["against_control"] == conclusion].to_dict("records")
        ]
        told += [f"{conclusion}: {', '.join(names)}"] if names else []
    return CONTROL.format(tests=len(tested), told="; ".join(told))


def _power(rows: pd.DataFrame) -> str:
    """How large a difference so many seeds of so many variants find."""
    ranked = rows[rows["rank"].notna() & (rows["given"] == "")]
    k, n = len(ranked), int(ranked["seeds"].min()) if len(ranked) else 0
    if k < 2 or n < MINIMUM_SEEDS:
        return ""
    pairs = comb(k, 2)
    found = power_of_welch(n, log(2) / USUAL_SPREAD, ALPHA / pairs)
    text = (
        f"Of {k} variants with {n} seeds, two that differ by {log(2) / USUAL_SPREAD:.1f} standard deviations over "
        f"seeds (a factor of two in a score whose logarithm varies by {USUAL_SPREAD}) are told apart in at "
        f"least {100 * found:.0f} % of cases."
    )
    if 2 / comb(2 * n, n) * pairs > ALPHA:
        text += (
            f" Where scores are tied (failures, counts) nothing can be told apart: the exact test's least p, "
            f"{p_value(2 / comb(2 * n, n))}, times {pairs} is above 0.05."
        )
    return f"{text} More than four variants need ten seeds." if k > 4 and n < 10 else text


def _without_failures(ranks: pd.DataFrame) -> str:
    told = []
    for row in ranks.to_dict("records"):
        if pd.isna(row["rank_completed"]):
            told.append(f"{row['variant']} would have no rank")
        elif row["rank_completed"] != row["rank"]:
            told.append(f"{row['variant']} would be rank {row['rank_completed']} instead of {row['rank']}")
    return f"Without the failed trials {', '.join(told) or 'the ranks are the same'}."


def _means(means: pd.DataFrame) -> str:
    told = [f"{m['variant']} {number(m['value'])} {interval(m['low'], m['high'])}" for m in means.to_dict("records")]
    return f"Interquartile means [95 %], from 8 completed seeds on: {', '.join(told)}." if told else ""


def _pair(pair: dict[Any, Any]) -> NeighbourTest:
    first, second, p, effect = pair["variant"], pair["next"], pair["p"], pair["effect"]
    shown = p_value(p)
    if pair["separated"]:
        if pair["better"] == second:
            # Failures or a long tail: the test compares means, the ranks medians.
            return NeighbourTest(second, MEANS, first, f"{1 - effect:.2f}", shown, "")
        return NeighbourTest(first, BEATS, second, f"{effect:.2f}", shown, "")
    verdict = UNTESTED if pd.isna(p) else ALIKE
    return NeighbourTest(first, verdict, second, f"{effect:.2f}", shown, seeds_text(pair))


def seeds_text(pair: Mapping[Any, Any]) -> str:
    """``31 [12, 240]``, or ``31 [12 or more]``; nothing where the trials do not say."""
    value, low, high = (pair[name] for name in SEEDS_NEEDED)
    if pd.isna(value):
        return ""
    return f"{value:,} [{low:,} or more]" if pd.isna(high) else f"{value:,} [{low:,}, {high:,}]"


def _sentence(pair: NeighbourTest) -> str:
    numbers = f"P {pair.effect}{f', p {pair.p}' if pair.p else ''}"
    if pair.verdict == BEATS:
        return f"{pair.better} beats {pair.other}: {numbers}."
    if pair.verdict == MEANS:
        return f"{pair.better} beats {pair.other} on the mean that is tested, not in the median: {numbers}."
    # Empty below ten seeds, without a difference or a spread, and above 10,000.
    unknown = "these trials do not say how many seeds would separate them"
    seeds = f"about {pair.seeds} seeds a side would separate them" if pair.seeds else unknown
    return f"{pair.better} and {pair.other} {pair.verdict}: {numbers}; {seeds}."


def failed_trials(section: Section) -> list[str]:
    """A line for each trial that ended without a score: status and reason."""
    own = section.trials
    return [
        f"{trial['variant']}, seed {trial['seed']}: {trial['status']}: {trial['reason']}"
        for _, trial in own[own["status"] != "completed"].iterrows()
    ]


class UnstableTrainings(NamedTuple):
    """Trials of one section that were unstable in the same way: the word, what it means, a line a trial."""

    word: str
    meaning: str
    trials: list[str]


def unstable_trainings(section: Section) -> list[UnstableTrainings]:
    """What went wrong in training: every trial that was unstable, with figures and place, by verdict."""
    own = section.trials
    found = []
    for word in UNSTABLE:
        lines = []
        for trial in own[own["verdict"] == word].to_dict("records"):
            note = f" ({trial['note']})" if trial["note"] else ""
            place = "" if pd.isna(trial["verdict_images"]) else f" at {trial['verdict_images']:,} images"
            if not place and not pd.isna(trial["verdict_step"]):
                place = f" at step {trial['verdict_step']:,}"
            figures = f": {trial['evidence']}" if trial["evidence"] else ""
            lines.append(f"{trial['variant']}, seed {trial['seed']}{place}{note}{figures}")
        if lines:
            found.append(UnstableTrainings(word, MEANINGS[word], lines))
    return found
