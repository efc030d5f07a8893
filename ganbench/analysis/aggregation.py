"""Compares variants over several datasets: average ranks and their tests, normalised scores, performance profiles.

The normalised score of a trial is 0 for a constant and 1 for as many real samples (the floor):

    (r(score) - r(constant)) / (r(floor) - r(constant))

r is the square root for FID, which so becomes 1 - (sqrt FID - sqrt floor) / (sqrt tr Sigma_real - sqrt
floor), a distance that grows in proportion to the shift of a mean; coverage and modes are shares already
and stay as they are (constant: 0). A failed trial counts as a constant, so it scores 0.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from ganbench.analysis.frames import Source, Trials, final_trials
from ganbench.analysis.ranking import Table, tables
from ganbench.analysis.statistics import ALPHA, LEVEL, Floats, Friedman, friedman
from ganbench.analysis.tiers import UNTESTED, letters

FEWEST_DATASETS = 8
FEWEST_VARIANTS = 3
COLUMNS = ["variant", "datasets", "trials", "average_rank", "tier", "score", "score_low", "score_high"]
TAUS = np.linspace(0, 1, 101)
_RESAMPLES = 2_000


class Across(NamedTuple):
    """What several datasets say together.

    Attributes:
        table: one row a variant, as ``across`` returns it.
        datasets: by name, those that count.
        friedman: the test over them, or None where there are too few.
        notes: sentences on what was tested, what was not, and why.
    """

    table: pd.DataFrame
    datasets: list[str]
    friedman: Friedman | None
    notes: list[str]


class CommonVariants(NamedTuple):
    """The variants that can be compared over datasets, because each of these ranks them.

    Attributes:
        tables: one of each dataset, sorted by its name.
        variants: the k that are ranked in all of them, sorted.
        scores: of each variant, its normalised scores in each dataset that has them.
        notes: what is left out, and why, in sentences.
    """

    tables: list[Table]
    variants: list[str]
    scores: dict[str, list[Floats]]
    notes: list[str]


def across(source: Source) -> pd.DataFrame:
    """Compare variants over datasets. ``source`` is a frame of ``load_results``, or records.

    A row is a variant that is ranked on every dataset (of each, the protocol with the most variants):
    ``average_rank`` over the datasets, ties shared; ``tier``, letters as in ``leaderboard``, from Nemenyi's
    test if Friedman's rejects at 5 %, ``?`` below 8 datasets or 3 variants; ``score``, the interquartile mean of the
    normalised scores of all its ``trials``, every dataset with the same weight, from ``score_low`` to
    ``score_high`` its 95 % bootstrap interval over seeds within these datasets (Agarwal et al., "Deep
    Reinforcement Learning at the Edge of the Statistical Precipice", 2021, section 4.1 and 4.3), NaN where a variant
    has a single trial on a dataset. No rows with fewer than 2 datasets or variants.

    ``attrs``: ``datasets`` by name; ``friedman``, its ``statistic``, ``p`` and Nemenyi's critical
    ``difference``, or None; ``notes``, sentences on what was tested, what was not, and why.
    """
    trials = final_trials(source)
    found = aggregate(common_variants(trials, list(tables(trials))))
    tested = found.friedman
    summary = tested and {"statistic": tested.statistic, "p": tested.p, "difference": tested.difference}
    found.table.attrs.update({"datasets": found.datasets, "friedman": summary, "notes": found.notes})
    return found.table


def profiles(source: Source) -> pd.DataFrame:
    """Performance profiles of the variants of ``across``: variant, tau, share, low, high.

    ``share`` in [0, 1] is the part of a variant's trials whose normalised score is above ``tau`` (101
    values from 0 to 1), every dataset with the same weight; ``low`` to ``high`` its pointwise 95 % bootstrap band.
    Agarwal et al. 2021, section 4.2 (score distributions), after Dolan and More, "Benchmarking Optimization
    Software with Performance Profiles", Mathematical Programming 91 (2002).
    """
    trials = final_trials(source)
    return profile(common_variants(trials, list(tables(trials))))


def common_variants(trials: Trials, found: list[Table]) -> CommonVariants:
    """The variants that stand on every dataset, and their normalised scores."""
    by_dataset: dict[str, list[Table]] = {}
    chosen, notes = [], []
    for table in found:
        if table.ranked and table.given:
            notes.append(f"Given labels on {table.dataset}, so not compared here: {_names(table)}.")
        elif table.ranked:
            by_dataset.setdefault(table.dataset.partition("@")[0], []).append(table)
    for dataset, several in sorted(by_dataset.items()):
        chosen.append(max(several, key=lambda table: (len(table.ranked), sum(len(row.trials) for row in table.ranked))))
        if len(several) > 1:
            notes.append(
                f"Of {len(several)} tables of {dataset} the one with the most variants counts: {chosen[-1].protocol}."
            )
    names = [{row.variant for row in table.ranked} for table in chosen]
    variants = sorted(set.intersection(*names)) if len(names) > 1 else []
    if missing := sorted(set.union(*names) - set(variants)) if len(names) > 1 else []:
        notes.append(f"Not on every dataset, so not compared here: {', '.join(missing)}.")
    if len(variants) < 2:
        none = f"No two variants stand on all of {', '.join(table.dataset for table in chosen)}."
        return CommonVariants(chosen, [], {}, [*notes, none] if names else [])
    scores: dict[str, list[Floats]] = {name: [] for name in variants}
    for table in chosen:
        normalised = _normalised(trials, table)
        if normalised is None:
            notes.append(f"{table.dataset} has no normalised score: {table.metric} has no scale.")
            continue
        for name in variants:
            scores[name].append(normalised[name])
    if single := [name for name in variants if scores[name] and not _resampled(scores[name])]:
        notes.append(f"No interval where a variant has one seed on a dataset: {', '.join(single)}.")
    for table in chosen:
        if family := [row.variant for row in table.ranked if row.true_family and row.variant in variants]:
            notes.append(f"True family on {table.dataset}, so no measure for the others: {', '.join(family)}.")
    return CommonVariants(chosen, variants, scores, notes)


def _names(table: Table) -> str:
    return ", ".join(row.variant for row in table.ranked)


def aggregate(common: CommonVariants) -> Across:
    """Average ranks, their tests, and normalised scores of the common variants."""
    datasets, variants = common.tables, common.variants
    places = np.array([_ranks(table, variants) for table in datasets]).reshape(len(datasets), len(variants))
    display, tested, notes = [UNTESTED] * len(variants), None, list(common.notes)
    order = np.argsort(places.mean(axis=0), kind="stable") if variants else np.arange(0)
    if variants and len(datasets) >= FEWEST_DATASETS and len(variants) >= FEWEST_VARIANTS:
        tested = friedman(places)
        separated = (tested.pairs <= ALPHA) & (tested.p <= ALPHA)
        display = letters(separated[np.ix_(order, order)])
        notes.insert(0, _verdict(tested.p, tested.difference, len(datasets), len(variants)))
    elif variants:
        notes.insert(0, _untested(len(datasets), len(variants)))
    lines = []
    for i, tier in zip(order, display, strict=True):
        middle = _interquartile(common.scores[variants[i]])
        trials = sum(len(row.trials) for table in datasets for row in table.ranked if row.variant == variants[i])
        lines.append([variants[i], len(datasets), trials, places[:, i].mean(), tier, *middle])
    board = pd.DataFrame(lines, columns=pd.Index(COLUMNS, dtype=object))
    numbers = dict.fromkeys(["average_rank", "score", "score_low", "score_high"], "float64")
    board = board.astype({"datasets": "int64", "trials": "int64", **numbers})
    return Across(board, [table.dataset for table in datasets], tested, notes)


def profile(common: CommonVariants) -> pd.DataFrame:
    """Performance profiles of the common variants, as ``profiles`` returns them."""
    parts = []
    for name in common.variants:
        if scores := common.scores[name]:
            above = np.concatenate(scores)[:, None] > TAUS
            band: Floats = np.full((2, len(TAUS)), np.nan)
            if _resampled(scores):
                band = _ends(_weights(scores, _RESAMPLES) @ above)
            share = (_weights(scores) @ above)[0]
            parts.append(pd.DataFrame({"variant": name, "tau": TAUS, "share": share, "low": band[0], "high": band[1]}))
    if parts:
        return pd.concat(parts, ignore_index=True)
    types = {"variant": object, "tau": float, "share": float, "low": float, "high": float}
    return pd.DataFrame({column: pd.Series(dtype=kind) for column, kind in types.items()})


def _normalised(trials: Trials, table: Table) -> dict[str, Floats] | None:
    """Normalised scores by variant, sorted, failed trials 0; None where floor and constant make no scale."""
    if table.metric not in trials.metrics:
        return None
    members = np.concatenate([row.trials for row in table.ranked])
    constants = trials.context["failure_score"].to_numpy(np.float64)[members]
    floors = trials.floors[members, trials.metrics.index(table.metric)]
    if np.isnan(constants).all() or np.isnan(floors).all():
        return None

    def root(values: Any) -> Any:
        return np.sqrt(np.maximum(values, 0.0)) if table.metric == "fid" else values

    constant = root(float(np.nanmedian(constants)))
    scale = root(float(np.nanmedian(floors))) - constant
    if scale == 0 or (scale < 0) != (table.direction == "min"):
        return None
    return {row.variant: np.sort((root(row.scores) - constant) / scale) for row in table.ranked}


def _ranks(table: Table, variants: list[str]) -> Floats:
    medians = {row.variant: float(np.median(row.scores)) for row in table.ranked}
    sign = -1 if table.direction == "max" else 1
    return np.asarray(stats.rankdata([sign * medians[name] for name in variants]), dtype=np.float64)


def _weights(strata: list[Floats], resamples: int | None = None) -> Floats:
    """Weight of every value of ``strata`` in each resample, ``(resamples, n)``; without resampling ``(1, n)``.

    Each stratum weighs the same. Of its n values n - 1 are drawn: with n the bootstrap's variance is too small
    by (n - 1) / n, which at five seeds is a fifth (Rao and Wu, "Resampling Inference with Complex Survey
    Data", Journal of the American Statistical Association 83, 1988). Seeded, so the same values give the same interval.
    """
    rng = np.random.default_rng(0)
    parts = []
    for stratum in strata:
        n = len(stratum)
        draws = max(n - 1, 1)
        even = np.full(n, 1 / n)
        counts = draws * even[None] if resamples is None else rng.multinomial(draws, even, resamples)
        parts.append(counts / (draws * len(strata)))
    return np.concatenate(parts, axis=1)


def _interquartile(strata: list[Floats]) -> tuple[float, float, float]:
    """Interquartile mean of all values, each stratum with the same weight, and the ends of its interval."""
    if not strata:
        return np.nan, np.nan, np.nan
    values = np.concatenate(strata)
    order = np.argsort(values, kind="stable")

    def middle(weights: Floats) -> Floats:
        upper = np.cumsum(weights[:, order], axis=1)
        inside = np.minimum(upper, 0.75) - np.maximum(upper - weights[:, order], 0.25)
        inside = np.maximum(inside, 0.0)
        # Not a product of matrices, whose last digits depend on the processor.
        return np.asarray((inside * values[order]).sum(axis=1) / inside.sum(axis=1))

    low, high = _ends(middle(_weights(strata, _RESAMPLES))) if _resampled(strata) else (np.nan, np.nan)
    return float(middle(_weights(strata))[0]), float(low), float(high)


def _resampled(strata: list[Floats]) -> bool:
    """Whether every dataset has two trials or more: of one, all resamples are the same, and say nothing of seeds."""
    return min(len(stratum) for stratum in strata) > 1


def _ends(found: Floats) -> Floats:
    return np.percentile(found, [100 * (1 - LEVEL) / 2, 100 * (1 + LEVEL) / 2], axis=0)


def _untested(datasets: int, variants: int) -> str:
    lacking = [f"{FEWEST_DATASETS} datasets (here {datasets})"] if datasets < FEWEST_DATASETS else []
    lacking += [f"{FEWEST_VARIANTS} variants (here {variants})"] if variants < FEWEST_VARIANTS else []
    return (
        f"No test and no tiers across datasets: Friedman and Nemenyi need at least {' and '.join(lacking)}. "
        "An average rank says nothing here about datasets that were not tried."
    )


def _verdict(p: float, difference: float, datasets: int, variants: int) -> str:
    found = f"Friedman over {datasets} datasets and {variants} variants: p {p:.2g}."
    if p > ALPHA:
        return f"{found} There is no evidence that any variant ranks better than another."
    return f"{found} Average ranks less than {difference:.2f} apart cannot be told apart (Nemenyi, 5 %)."
