"""Estimates how long trials will take, from what earlier ones in the results folder have taken.

A sweep ends early if its longest trials begin first: at most 4/3 of the shortest possible time (Graham 1969), where
lengths are known.
The order of trials changes no record.
"""

from __future__ import annotations

import heapq
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from statistics import median

from ganbench.results.schema import Record, TrialIdentity
from ganbench.results.spec import LANES, SEEDS, Planned
from ganbench.results.store import Store
from ganbench.runner.planning import together
from ganbench.utils import canonical_json
from ganbench.utils.files import read_plain

MOST_COST = 1 << 14  # bytes of cost.json
MOST_SECONDS = 1e9

# Seconds an image trained on, and an evaluation, each a seed's share; and an image of all seeds that train together, 0
# if that is not known: it hardly depends on how many they are, so groups of several sizes can be compared by it.
Rates = tuple[float, float, float]


class Estimates:
    """Expected seconds of trials.

    A trial is expected to take what completed trials took for an image and for an evaluation, in the median: those of
    the same hyperparameters, else of the same variant on that dataset, else of all variants on it; always on the same
    type of device, in the same precision and by the same engine (of those that trained together, each has its share).
    Nothing is guessed across datasets.

    Args:
        records: of the results folder of ``store``.
    """

    def __init__(self, store: Store, records: Iterable[Record]) -> None:
        self._rates: dict[tuple[str, ...], list[Rates]] = defaultdict(list)
        for record in records:
            if record.status == "completed" and (rates := _rates(store, record)) is not None:
                for key in _keys(record.identity.trial):
                    self._rates[key].append(rates)

    def seconds(self, trial: Planned) -> float | None:
        """Expected wall seconds; None where there is nothing to go by."""
        if (rates := self._known(trial)) is None:
            return None
        image, evaluation, _ = rates
        return image * trial.spec.protocol.budget_images + evaluation * trial.spec.protocol.evaluations

    def _known(self, trial: Planned) -> Rates | None:
        for key in _keys(trial.spec.trial):
            if known := self._rates.get(key):
                image, evaluation, whole = (median(column) for column in zip(*known, strict=True))
                return image, evaluation, whole
        return None

    def longest_first(self, trials: Sequence[Planned], devices: int = 1) -> list[list[Planned]]:
        """The trials of each job, in the order in which jobs should begin: those of unknown length first, else as they
        were. ``devices``: on how many they run (``planning.together``).
        """

        def length(job: list[Planned]) -> float:
            seconds = self.job_seconds(job)
            return math.inf if seconds is None else seconds

        return sorted(together(trials, devices), key=length, reverse=True)

    def job_seconds(self, job: Sequence[Planned]) -> float | None:
        """Expected wall seconds of trials that are one job: they differ in their seed alone."""
        if (rates := self._known(job[0])) is None:
            return None
        image, evaluation, whole = rates
        protocol = job[0].spec.protocol
        if protocol.engine != SEEDS or not whole:  # else a computation takes as long for one seed as for ten
            whole = image * len(job)
        return whole * protocol.budget_images + evaluation * protocol.evaluations * len(job)


def makespan(seconds: Iterable[float], slots: int) -> float:
    """When the last of some jobs ends that begin in this order, each as soon as one of so many slots is free."""
    ends = [0.0] * slots
    for one in seconds:
        heapq.heapreplace(ends, ends[0] + one)
    return max(ends)


def _keys(trial: TrialIdentity) -> list[tuple[str, ...]]:
    """What a trial shares with others, the closest likeness first."""
    shared = (trial.device, trial.precision, trial.engine, trial.dataset)
    return [
        (*shared, trial.variant, canonical_json.dumps(trial.hyperparameters)),
        (*shared, trial.variant),
        shared,
    ]


def _rates(store: Store, record: Record) -> Rates | None:
    """What a trial took, by the file beside its record; None where that says nothing of the expected form."""
    try:
        cost = canonical_json.loads(read_plain(store.place(record.identity) / "cost.json", MOST_COST))
        training, scoring, wall = (
            float(cost[name]) for name in ("training_seconds", "evaluation_seconds", "wall_seconds")
        )
        seeds = float(cost.get("together", 0))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    if not (all(0 <= value < MOST_SECONDS for value in (training, scoring, wall)) and 0 <= seeds <= LANES):
        return None
    # What is neither (starting, loading data) counts with the evaluations; a continued trial's wall is its last part.
    scoring = max(scoring, wall - training)
    image = training / record.identity.trial.budget_images
    return image, scoring / record.identity.evaluation.evaluations, image * seeds
