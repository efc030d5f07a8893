"""Makes the two tables: trials, and the leaderboard with ranks, tiers, intervals and failures.

Both are pure functions of the records: no clock, host or order of the input is in them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd

from ganbench.analysis.frames import COMPARABLE, HEAD, STABILITY, Source, Trials, final_trials, named
from ganbench.analysis.measures import SHOWN
from ganbench.analysis.stability import QUALIFIERS, WORDS
from ganbench.analysis.statistics import ALPHA, MINIMUM_SEEDS, Floats, Spread, holm, interval, spread
from ganbench.analysis.tiers import UNTESTED, Separation, p_values, separate
from ganbench.results.schema import STATUSES

_WORD_ORDER = {word: i for i, word in enumerate((*WORDS, *STATUSES))}
# A score of 0 has no logarithm: this share of a constant's score is added, far below any floor.
_LOG_OFFSET = 1e-6
# The variant that every other one is tested against: the plain loss on the networks that they share.
CONTROL = "control"
NO_EVIDENCE = "no evidence"


class Primary(NamedTuple):
    """The primary metric of n trials.

    Attributes:
        scores: ``(n,)``; a failed trial has that of a constant, NaN is not measured.
        completed: ``(n,)``, whether the trial completed.
        tested: ``(n,)``, ``scores`` on the scale of the tests.
    """

    metric: str
    direction: Literal["min", "max"]
    scores: Floats
    completed: np.ndarray
    tested: Floats


@dataclass(frozen=True)
class Row:
    """One row of a leaderboard.

    Attributes:
        true_family: whether the data were drawn from the family of distributions that it fits.
        trials: positions of its trials.
        scores: of its trials in the primary metric, failed ones substituted; empty if it has none.
        completed: of its completed trials only.
        tested: ``scores`` on the scale of the tests.
    """

    variant: str
    role: str
    true_family: bool
    trials: np.ndarray
    scores: Floats
    completed: Floats
    tested: Floats


class Against(NamedTuple):
    """A test of a variant against the control: ``better``, ``worse``, ``no evidence``, or ``?`` below 5 seeds.

    ``p`` is Holm-adjusted over the variants that are compared with it; NaN without a test.
    """

    p: float
    conclusion: str


@dataclass(frozen=True)
class Table:
    """One (dataset, protocol, information given), ranked apart.

    Attributes:
        given: ``labels`` for variants that are given the classes of the data, else nothing.
        ranked: rows in rank order, with their ``ranks``; ``others``: baselines, planted failures, and variants whose
            trials all raised; where no trial of the table has a score, all of them.
        control: of each ranked row its comparison with the control; None where there is none.
    """

    dataset: str
    extractor: str
    protocol: str
    given: str
    metric: str
    direction: Literal["min", "max"]
    ranked: list[Row]
    ranks: list[int]
    others: list[Row]
    separation: Separation
    control: list[Against | None]


def trials_table(source: Source) -> pd.DataFrame:
    """One row a trial: dataset, extractor, protocol, variant, seed, status, reason, verdict, note, metrics, trial.

    Then what is known of its stability: ``evidence`` (the figures that decided the verdict), ``verdict_step`` and
    ``verdict_images`` (where it happened), and every measure of ``ganbench.analysis.measures.SHOWN``. Then what
    ``compare`` has to know of it, ``frames.COMPARABLE``; and last, where a preset names how some of them were scored,
    ``preset``.

    ``source`` is a frame of ``load_results``, or records. Missing scores are NaN, missing text is "".
    """
    trials = final_trials(source)
    context = named(trials.context)
    scores = pd.DataFrame(trials.values, columns=pd.Index(trials.metrics, dtype=object))
    context = context.assign(direction=[trials.directions.get(name, "none") for name in context["primary"]])
    conditions = [context[name.removeprefix("protocol_")].rename(name) for name in COMPARABLE]
    table = pd.concat([context[HEAD], scores, context[["trial", *STABILITY]], *conditions], axis=1)
    table = table.astype({"verdict_step": "Int64", "verdict_images": "Int64"})
    if context["preset"].any():
        table["preset"] = context["preset"]
    return table.sort_values(["dataset", "protocol", "variant", "seed", "trial"], kind="stable", ignore_index=True)


@np.errstate(over="ignore", invalid="ignore")  # a stranger's scores may be 1e308: they are separated from nothing
def leaderboard(source: Source) -> pd.DataFrame:
    """Rank the variants of each dataset and protocol. ``source`` is a frame of ``load_results``, or records.

    A row is (dataset, protocol, variant, hyperparameters, source). ``preset`` is there where one has a name of
    ``results.presets``. Variants that are ``given`` labels are ranked apart, after the others. ``rank`` goes by
    the median of the primary metric over seeds, in which a failed trial counts as a constant at the real mean; equal
    medians share a rank. A variant whose trials all raised has none. ``tier``: rows that share a letter
    cannot be told apart; ``?`` below 5 seeds. ``seeds`` are trials with a record, ``failed`` those not completed.
    ``verdict`` counts how trainings went, ``notes`` what qualifies that (``stability.QUALIFIERS``). ``<metric>`` is the
    median over completed trials, from ``_low`` to ``_high`` its interval (``statistics.interval``), ``_floor`` what
    an ideal sampler scores, with its standard deviation over draws in ``_floor_sd``. ``true_family`` is ``yes`` where
    the data were drawn from the family that the variant fits. ``against_control`` says whether the variant was
    ``better`` or ``worse`` than ``control``, ``p_control`` the p-value, after Holm over these comparisons alone
    (one a variant). ``seed_sd`` and ``sampling_sd`` are the parts of the spread of the primary metric over completed
    trials (``statistics.spread``), empty where a record does not say how samples spread. After the metrics come the
    medians of the stability measures, over completed trials. Baselines and planted failures come last, without rank and
    tier.
    """
    trials = final_trials(source)
    told = ("verdict", "status", "note", "preset")
    verdicts, statuses, notes, presets = (trials.context[name].to_numpy(object) for name in told)
    errors = trials.context["sampling_sd"].to_numpy(np.float64)
    measured = trials.context[list(SHOWN)].to_numpy(np.float64)
    lines: list[dict[str, Any]] = []
    for (_, _), same in groupby(tables(trials), lambda table: (table.dataset, table.protocol)):
        apart = list(same)
        placed: list[tuple[Table, Row, int | None, str, Against | None]] = [
            (table, *each)
            for table in apart
            for each in zip(table.ranked, table.ranks, table.separation.letters, table.control, strict=True)
        ]
        placed += [(table, row, None, "", None) for table in apart for row in table.others]
        for table, row, rank, tier, against in placed:
            completed = row.trials[statuses[row.trials] == "completed"]
            scores = primary_scores(trials, completed).scores if len(completed) else np.empty(0)
            known = np.isfinite(scores)
            line = {
                "dataset": table.dataset,
                "extractor": table.extractor,
                "protocol": table.protocol,
                "preset": presets[row.trials[0]],
                "rank": rank,
                "tier": tier,
                "variant": row.variant,
                "seeds": len(row.trials),
                "failed": len(row.trials) - len(completed),
                "verdict": _counts(verdicts[row.trials], statuses[row.trials]),
                "notes": _qualified(notes[row.trials]),
                "given": table.given,
                "true_family": "yes" if row.true_family else "",
                "against_control": against.conclusion if against else "",
                "p_control": against.p if against else None,
            }
            parts = spread(scores[known], errors[completed][known]) or (None, None)
            line |= dict(zip(Spread._fields, parts, strict=True))
            for place, metric in enumerate(trials.metrics):
                cell = _cell(trials.values[completed, place], trials.floors[row.trials, place])
                line |= dict(zip((metric, f"{metric}_low", f"{metric}_high", f"{metric}_floor"), cell, strict=True))
                line[f"{metric}_floor_sd"] = _median(trials.floor_sds[row.trials, place])
            line |= dict(zip(SHOWN, map(_median, measured[completed].T), strict=True))
            lines.append(line)
    texts = ["dataset", "extractor", "protocol", "preset", "rank", "tier", "variant", "seeds", "failed", "verdict"]
    texts += ["notes", "given", "true_family", "against_control"]
    columns = [f"{metric}{end}" for metric in trials.metrics for end in ("", "_low", "_high", "_floor", "_floor_sd")]
    numbers = ["p_control", *Spread._fields, *columns, *SHOWN]
    board = pd.DataFrame(lines, columns=pd.Index([*texts, *numbers], dtype=object))
    if not board["preset"].any():
        board = board.drop(columns="preset")
    return board.astype({"rank": "Int64", "seeds": "int64", "failed": "int64", **dict.fromkeys(numbers, "float64")})


def tables(trials: Trials) -> Iterator[Table]:
    """The rows of each (dataset, protocol, what is given), ranked and tested, sorted by these names."""
    context = named(trials.context)
    # Only what is ranked is ranked apart.
    context = context.assign(given=np.where(context["role"] == "variant", context["given"], ""))
    groups: dict[Any, Any] = dict(context.groupby(["dataset", "protocol", "given"], sort=True).indices)
    for (dataset, protocol, given), members in groups.items():
        group = context.iloc[members]
        primary = primary_scores(trials, members)
        raised = (group["status"] == "error").to_numpy(bool)
        # Where nothing was scored, failures would be all there is to rank.
        scored = bool((primary.completed & ~np.isnan(primary.scores)).any())
        rows, medians = [], {}
        inside: dict[Any, Any] = dict(group.groupby("variant", sort=True).indices)
        for variant, places in inside.items():
            known = places[~np.isnan(primary.scores[places])]
            done = known[primary.completed[known]]
            role = str(group["role"].iloc[places[0]])
            scores, tested = primary.scores[known], primary.tested[known]
            family = bool((group["true_family"].iloc[places] == "yes").any())
            rows.append(Row(variant, role, family, members[places], scores, primary.scores[done], tested))
            if len(scores) and role == "variant" and scored and not raised[places].all():
                medians[variant] = float(np.median(scores)) * (-1 if primary.direction == "max" else 1)
        ranked = sorted(
            (row for row in rows if row.variant in medians), key=lambda row: (medians[row.variant], row.variant)
        )
        order = [medians[row.variant] for row in ranked]
        yield Table(
            dataset=dataset,
            extractor=str(group["extractor"].iloc[0]),
            protocol=protocol,
            given=given,
            metric=primary.metric,
            direction=primary.direction,
            ranked=ranked,
            ranks=(np.searchsorted(order, order, side="left") + 1).tolist(),
            others=[row for row in rows if row.variant not in medians],
            separation=separate([row.tested for row in ranked]),
            control=_against_control(ranked, primary.direction),
        )


def _against_control(ranked: list[Row], direction: Literal["min", "max"]) -> list[Against | None]:
    """Each row tested against the control, with Holm's correction for as many tests as there are other rows."""
    control = next((row for row in ranked if row.variant == CONTROL), None)
    found: dict[str, Against] = {}
    if control is not None:
        others = [row for row in ranked if row is not control]
        enough = [row for row in others if min(len(row.tested), len(control.tested)) >= MINIMUM_SEEDS]
        samples = [np.sort(row.tested) for row in (*enough, control)]
        p: Floats | list[float] = (
            holm(p_values(samples, np.arange(len(enough)), np.full(len(enough), len(enough)))) if enough else []
        )
        found = {row.variant: Against(np.nan, UNTESTED) for row in others}
        for row, adjusted in zip(enough, p, strict=True):
            ahead = (row.tested.mean() < control.tested.mean()) == (direction == "min")
            found[row.variant] = Against(
                adjusted, ("better" if ahead else "worse") if adjusted <= ALPHA else NO_EVIDENCE
            )
    return [found.get(row.variant) for row in ranked]


def primary_scores(trials: Trials, members: np.ndarray) -> Primary:
    """Scores by which the trials ``members`` of one dataset and protocol are ranked and tested.

    A failed trial counts as a constant at the real mean; for a metric where that score is not known, as
    the worst completed trial of these. Tests are on logarithms where lower is better and no score is
    negative, with a millionth of the constant's score (or else of the largest) added, so that 0 has one.
    """
    context = trials.context
    metric = str(context["primary"].iat[members[0]])
    direction: Literal["min", "max"] = "max" if trials.directions.get(metric) == "max" else "min"
    completed = context["status"].to_numpy(object)[members] == "completed"
    found = np.full(len(members), np.nan)
    if metric in trials.metrics:
        found = trials.values[members, trials.metrics.index(metric)]
    known = found[completed & ~np.isnan(found)]
    if completed.any() and not len(known):
        # The metric was not chosen: failures would be all there is to rank.
        blank = np.full(len(members), np.nan)
        return Primary(metric, direction, blank, completed, blank)
    constants = context["failure_score"].to_numpy(np.float64)[members]
    constants = constants[~np.isnan(constants)]
    worst = float((known.min() if direction == "max" else known.max()) if len(known) else 0.0)
    constant = float(np.median(constants)) if len(constants) else worst
    scores = np.where(completed, found, constant)
    tested = scores
    if direction == "min" and not (scores < 0).any():
        tested = np.log(scores + _LOG_OFFSET * (constant or float(np.nanmax(scores)) or 1.0))
    return Primary(metric, direction, scores, completed, tested)


def _median(values: Floats) -> float | None:
    known = values[~np.isnan(values)]
    return float(np.median(known)) if len(known) else None


def _cell(values: Floats, floors: Floats) -> list[float | None]:
    values, floor = values[~np.isnan(values)], _median(floors)
    if not len(values):
        return [None, None, None, floor]
    low, high, _ = interval(values)
    return [float(np.median(values)), low, high, floor]


def _counts(verdicts: Iterable[str], statuses: Iterable[str]) -> str:
    """``4 stable, 1 collapsed``: most frequent first; a failure without a verdict counts by its status."""
    words = Counter(word or status for word, status in zip(verdicts, statuses, strict=True))
    del words["completed"]
    ordered = sorted(words.items(), key=lambda item: (-item[1], _WORD_ORDER.get(item[0], len(_WORD_ORDER))))
    return ", ".join(f"{count} {word}" for word, count in ordered)


def _qualified(notes: Iterable[str]) -> str:
    """``3 undertrained, 5 coarse``: how many verdicts are qualified so."""
    found = Counter(note for text in notes for note in text.split("; "))
    return ", ".join(f"{found[word]} {word}" for word in QUALIFIERS if found[word])
