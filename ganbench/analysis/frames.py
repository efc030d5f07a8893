"""Records as one tidy table, and that table as one row a trial: what ranking and comparison read."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from msgspec.structs import asdict
from numpy.typing import NDArray

from ganbench.analysis.measures import SHOWN
from ganbench.analysis.stability import verdict
from ganbench.results.schema import Record
from ganbench.results.store import read_records
from ganbench.utils import canonical_json
from ganbench.utils.errors import printable

# What must be equal for two scores to be comparable, beside the content of the dataset.
PROTOCOL_FIELDS = (
    "extractor",
    "extractor_hash",
    "split",
    "samples",
    "evaluations",
    "metrics_version",
    "budget_images",
    "batch_size",
    "precision",
    "engine",
)
ROW = ["dataset", "dataset_hash", "protocol", "variant", "hyperparameters", "source"]
TRIAL = [*ROW, "seed", "trial"]
# The verdict on a trial's stability: what decided it, where it happened, and everything that was measured.
STABILITY = ["evidence", "verdict_step", "verdict_images", *SHOWN]
_CONTEXT = [
    *STABILITY,
    "verdict",
    "note",
    "status",
    "reason",
    "role",
    "primary",
    "failure_score",
    "environment",
    *PROTOCOL_FIELDS,
]
# What a trials.csv has after its trial, so that its rows can be compared without their records. A field of the
# protocol has a prefix there, because precision is a metric too.
COMPARABLE = (
    *("role", "primary", "direction", "failure_score", "dataset_hash", "hyperparameters", "environment", "source"),
    *(f"protocol_{field}" for field in PROTOCOL_FIELDS if field != "extractor"),
)
_CELL = ["images_seen", "metric", "value", "final", "position", "metric_label", "direction", "floor"]
COLUMNS = [
    *("dataset", "extractor", "protocol", "variant", "seed", "status", "images_seen", "metric", "value", "final"),
    *("verdict", "note", "reason", "role", "primary", "failure_score"),
    *("position", "metric_label", "direction", "floor", "source", "hyperparameters", "dataset_hash"),
    *(field for field in PROTOCOL_FIELDS if field != "extractor"),
    *STABILITY,
    *("environment", "trial"),
]


class Trials(NamedTuple):
    """End of training, one row a trial, sorted by ``TRIAL``.

    Attributes:
        context: DataFrame of n trials.
        metrics: names of the m metrics, in the order in which they are shown.
        values, floors: ``(n, m)``, NaN where there is none.
        directions: of each metric, ``min``, ``max`` or ``none``.
    """

    context: pd.DataFrame
    metrics: list[str]
    values: NDArray[np.float64]
    floors: NDArray[np.float64]
    directions: dict[str, str]


# What tables are made of; trials that one table has read serve the next.
Source = pd.DataFrame | Trials | Iterable[Record]


def load_results(path: Path | str) -> pd.DataFrame:
    """The records below a results folder as one tidy frame: a row for each trial, evaluation and metric.

    Damaged records are left out with a warning that names them.
    """
    contents = read_records(path)
    for problem in contents.problems:
        warnings.warn(printable(f"left out {problem.path}: {problem.reason}"), stacklevel=2)
    return to_frame(contents.records)


def to_frame(records: Iterable[Record], history: bool = True) -> pd.DataFrame:
    """Tidy frame of ``records``: a row for each trial, evaluation and metric, in an order that is always the same.

    The rows with ``final`` hold the scores at the end of training; every trial has them for each of its
    metrics (a trial that knows no metric has one with ``metric`` ""), with ``value`` NaN where it has
    none, so a failure is never lost. The other rows, left out with ``history=False``, hold the
    evaluations during training. Missing text is "". ``failure_score`` is what a failed trial counts as for
    rank and tests: a constant at the real mean, which has FID ``tr Sigma_real``, coverage 0 and no modes;
    NaN for other metrics.
    """
    ordered = sorted(records, key=_order)
    trials: list[tuple[Any, ...]] = []
    cells: list[tuple[Any, ...]] = []
    owners: list[int] = []
    for number, record in enumerate(ordered):
        trials.append(_trial(record))
        before = len(cells)
        cells.extend(_cells(record, history))
        owners.extend([number] * (len(cells) - before))
    context = _columns(trials, [*TRIAL, *_CONTEXT])
    values = _columns(cells, _CELL)
    index = np.array(owners, dtype=int)
    frame = pd.DataFrame({**{name: column.take(index) for name, column in context.items()}, **values})
    for name in ("value", "floor", "failure_score", *SHOWN):
        frame[name] = frame[name].astype(np.float64)
    for name in ("images_seen", "seed", "position"):
        frame[name] = frame[name].astype(np.int64)
    frame["final"] = frame["final"].astype(bool)
    return frame[COLUMNS]


def _columns(rows: Sequence[tuple[Any, ...]], names: Sequence[str]) -> dict[str, Any]:
    """Columns of Python objects: rows of one trial share their strings instead of copying them."""
    columns = zip(*rows, strict=True) if rows else [() for _ in names]
    return {name: pd.Series(list(column), dtype=object).to_numpy() for name, column in zip(names, columns, strict=True)}


def _order(record: Record) -> tuple[Any, ...]:
    identity, trial = record.identity, record.identity.trial
    hyperparameters = canonical_json.dumps(trial.hyperparameters)
    return (
        *(trial.dataset, trial.dataset_hash, identity.protocol, record.label, hyperparameters),
        *(trial.source, trial.seed, identity.id, record.sha256),
    )


def _trial(record: Record) -> tuple[Any, ...]:
    """The values of ``TRIAL`` and ``_CONTEXT``."""
    both = {**asdict(record.identity.trial), **asdict(record.identity.evaluation)}
    judged = verdict(record)
    return (
        *_order(record)[:-1],
        *(judged.figures, judged.step, judged.images_seen, *(getattr(judged.measures, name) for name in SHOWN)),
        *(judged.word or "", judged.note, record.status, record.reason or "", record.role),
        *(record.primary, _failure_score(record), record.environment_hash),
        *(both[field] for field in PROTOCOL_FIELDS),
    )


def _failure_score(record: Record) -> float | None:
    if record.primary == "fid":
        return record.reference.trace
    return 0.0 if record.primary in ("coverage", "modes") else None


def _cells(record: Record, history: bool) -> Iterable[tuple[Any, ...]]:
    """The values of ``_CELL``, evaluations first. The last evaluation of a completed trial is the end of training."""
    named = sorted(record.metrics.items(), key=lambda item: item[1].position)
    metrics = [
        (name, position, about.label, about.direction, about.floor) for position, (name, about) in enumerate(named)
    ] or [("", 0, "", "none", None)]
    evaluations = record.evaluations
    completed = record.status == "completed"
    if history:
        for evaluation in evaluations[:-1] if completed else evaluations:
            for name, position, label, direction, floor in metrics:
                if (value := evaluation.values.get(name)) is not None:
                    yield evaluation.images_seen, name, value, False, position, label, direction, floor
    budget = record.identity.trial.budget_images
    end = budget if completed else evaluations[-1].images_seen if evaluations else 0
    for name, position, label, direction, floor in metrics:
        yield end, name, record.values.get(name), True, position, label, direction, floor


def final_trials(source: Source) -> Trials:
    """One row a trial, from a frame of ``load_results`` (its rows in any order) or from records.

    Raises ValueError for a frame without the columns of ``to_frame``.
    """
    if isinstance(source, Trials):
        return source
    frame = source if isinstance(source, pd.DataFrame) else to_frame(source, history=False)
    if missing := [name for name in COLUMNS if name not in frame.columns]:
        raise ValueError(f"not a frame of ganbench.load_results: it has no column {', '.join(missing)}")
    final = frame[frame["final"].astype(bool)]
    trial = final.groupby(TRIAL, sort=True, dropna=False).ngroup().to_numpy()
    final = final.iloc[np.lexsort((final["metric"].to_numpy(), final["position"].to_numpy(), trial))]
    trial = np.sort(trial)
    _, first = np.unique(trial, return_index=True)
    context = final.iloc[first][[*TRIAL, *_CONTEXT]].reset_index(drop=True)
    names = final["metric"].to_numpy()
    orders = [tuple(name for name in part if name) for part in np.split(names, first[1:])] if len(first) else []
    metrics = _merge(sorted(set(zip(context["dataset"], orders, strict=True))))
    column = {name: i for i, name in enumerate(metrics)}
    place = np.array([column.get(name, -1) for name in names], dtype=int)
    known = place >= 0
    values, floors = (np.full((len(first), len(metrics)), np.nan) for _ in range(2))
    values[trial[known], place[known]] = final["value"].to_numpy(np.float64)[known]
    floors[trial[known], place[known]] = final["floor"].to_numpy(np.float64)[known]
    pairs = sorted(set(zip(names, final["direction"], strict=True)), reverse=True)
    return Trials(context, metrics, values, floors, dict(pairs))


def _merge(orders: Iterable[tuple[str, tuple[str, ...]]]) -> list[str]:
    """One order of all metrics: a new one comes right after the one that it follows where it is shown."""
    merged: list[str] = []
    for _, order in orders:
        place = 0
        for name in order:
            if name not in merged:
                merged.insert(place, name)
            place = merged.index(name) + 1
    return merged


def named(context: pd.DataFrame) -> pd.DataFrame:
    """``context`` with names that tell its rows apart.

    Where one name stands for several contents, eight hex digits say which: ``dcgan@1a2b3c4d`` by source
    code (or, for the same code, by hyperparameters), ``digits@1a2b3c4d`` by content of the dataset.
    """
    rows = context[ROW].drop_duplicates()
    rows = rows.assign(digest=[canonical_json.sha256(text) for text in rows["hyperparameters"]])
    shared = ["dataset", "dataset_hash", "protocol", "variant"]
    suffixes = {
        "dataset": _suffix(rows, ["dataset", "protocol"], "dataset_hash"),
        "variant": _suffix(rows, shared, "source") + _suffix(rows, [*shared, "source"], "digest"),
    }
    key = pd.MultiIndex.from_frame(context[ROW])
    place = pd.MultiIndex.from_frame(rows[ROW]).get_indexer(key)
    return context.assign(
        **{name: context[name].to_numpy(object) + texts.to_numpy(object)[place] for name, texts in suffixes.items()}
    )


def _suffix(rows: pd.DataFrame, group: list[str], by: str) -> pd.Series[str]:
    """``@`` and eight digits of ``by`` where a group has several of it, else nothing."""
    several = rows.groupby(group, dropna=False)[by].transform("nunique") > 1
    return ("@" + rows[by].astype(str).str[:8]).where(several, "").astype(object)
