"""Records as one table for pandas, a row for each metric of each evaluation; and as one row a trial, for ranking."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from math import log
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from msgspec import UNSET
from numpy.typing import NDArray

from ganbench.analysis.measures import SHOWN
from ganbench.analysis.stability import Verdict, verdict
from ganbench.results.presets import preset_of
from ganbench.results.schema import Record
from ganbench.results.store import read_records
from ganbench.utils import canonical_json
from ganbench.utils.errors import printable


class Column(NamedTuple):
    """One column of the frame that ``load_results`` returns.

    Attributes:
        read: its value for a trial, from the record and the verdict; None for what each row has of its own (``Cell``).
        dtype: float64, int64 or bool; None for text, and for what may be missing and is no float.
        group: ``protocol`` for what must be equal where scores are compared, ``stability`` for the verdict's figures.
    """

    name: str
    read: Callable[[Record, Verdict], Any] | None = None
    dtype: str | None = None
    group: str = ""


class Cell(NamedTuple):
    """One metric of a trial at one evaluation: what a row has beside the columns of its trial."""

    images_seen: int
    metric: str
    value: float | None
    final: bool
    position: int
    metric_label: str
    direction: str
    floor: float | None
    floor_sd: float | None


def _of_record(path: str) -> Callable[[Record, Verdict], Any]:
    get = attrgetter(path)
    return lambda record, _: get(record)


def _of_verdict(path: str) -> Callable[[Record, Verdict], Any]:
    get = attrgetter(path)
    return lambda _, judged: get(judged)


def _failure_score(record: Record, _: Verdict) -> float | None:
    if record.primary == "fid":
        return record.reference.trace
    if record.primary == "mode_kl":
        return log(record.reference.modes) if record.reference.modes else None
    return 0.0 if record.primary in ("recovered_mass", "coverage", "modes") else None


def _sampling_sd(record: Record, _: Verdict) -> float | None:
    return record.evaluations[-1].sampling_sd.get(record.primary) if record.evaluations else None


def _note(record: Record, judged: Verdict) -> str:
    """What qualifies the verdict, then the metrics that failed."""
    failed = [about.note for about in record.metrics.values() if isinstance(about.note, str)]
    return "; ".join([*judged.notes, *failed])


# The columns in their order.
_TABLE = [
    Column("dataset", _of_record("identity.trial.dataset")),
    Column("extractor", _of_record("identity.evaluation.extractor"), group="protocol"),
    Column("protocol", _of_record("identity.protocol")),
    Column("variant", _of_record("label")),
    Column("seed", _of_record("identity.trial.seed"), "int64"),
    Column("status", _of_record("status")),
    Column("images_seen", dtype="int64"),
    Column("metric"),
    Column("value", dtype="float64"),
    Column("final", dtype="bool"),
    Column("verdict", lambda _, judged: judged.word or ""),
    Column("note", _note),
    Column("reason", lambda record, _: record.reason or ""),
    Column("role", _of_record("role")),
    Column("primary", _of_record("primary")),
    Column("failure_score", _failure_score, "float64"),
    Column("sampling_sd", _sampling_sd, "float64"),
    Column("given", lambda record, _: "labels" if record.conditional is True else ""),
    Column("true_family", lambda record, _: "yes" if record.true_family is True else ""),
    Column("preset", lambda record, _: preset_of(record)),
    Column("position", dtype="int64"),
    Column("metric_label"),
    Column("direction"),
    Column("floor", dtype="float64"),
    Column("floor_sd", dtype="float64"),
    Column("source", _of_record("identity.trial.source")),
    Column("hyperparameters", lambda record, _: canonical_json.dumps(record.identity.trial.hyperparameters)),
    Column("dataset_hash", _of_record("identity.trial.dataset_hash")),
    Column("extractor_hash", _of_record("identity.evaluation.extractor_hash"), group="protocol"),
    Column("split", _of_record("identity.evaluation.split"), group="protocol"),
    Column("samples", _of_record("identity.evaluation.samples"), "int64", group="protocol"),
    Column("evaluations", _of_record("identity.evaluation.evaluations"), "int64", group="protocol"),
    Column("metrics_version", _of_record("identity.evaluation.metrics_version"), "int64", group="protocol"),
    Column("budget_images", _of_record("identity.trial.budget_images"), "int64", group="protocol"),
    Column("batch_size", _of_record("identity.trial.batch_size"), "int64", group="protocol"),
    Column("precision", _of_record("identity.trial.precision"), group="protocol"),
    Column("engine", _of_record("identity.trial.engine"), group="protocol"),
    Column("evidence", _of_verdict("figures"), group="stability"),
    Column("verdict_step", _of_verdict("step"), group="stability"),
    Column("verdict_images", _of_verdict("images_seen"), group="stability"),
    *(Column(name, _of_verdict(f"measures.{name}"), "float64", "stability") for name in SHOWN),
    Column("environment", _of_record("environment_hash")),
    Column("environment_fields", lambda record, _: canonical_json.dumps(record.environment)),
    Column("trial", _of_record("identity.id")),
]
COLUMNS = [column.name for column in _TABLE]
DTYPES = {column.name: column.dtype for column in _TABLE if column.dtype is not None}
CONTEXT = [column.name for column in _TABLE if column.read is not None]  # of a trial, the same in all its rows
# What must be equal for two scores to be comparable, beside the content of the dataset.
PROTOCOL_FIELDS = tuple(column.name for column in _TABLE if column.group == "protocol")
# The verdict on a trial's stability: what decided it, where it happened, and everything that was measured.
STABILITY = [column.name for column in _TABLE if column.group == "stability"]
ROW = ["dataset", "dataset_hash", "protocol", "variant", "hyperparameters", "source"]  # of a leaderboard
TRIAL = [*ROW, "seed", "trial"]
# What a trials.csv begins with, before its metrics.
HEAD = ["dataset", "extractor", "protocol", "variant", "seed", "status", "reason", "verdict", "note"]
# What a trials.csv has after its trial, so that its rows can be compared without their records. A field of the
# protocol has a prefix there, because precision is a metric too.
COMPARABLE = (
    "role",
    "primary",
    "direction",
    "failure_score",
    "sampling_sd",
    "given",
    "true_family",
    "dataset_hash",
    "hyperparameters",
    "environment",
    "environment_fields",
    "source",
    *(f"protocol_{field}" for field in PROTOCOL_FIELDS if field != "extractor"),
)


class Trials(NamedTuple):
    """End of training, one row a trial, sorted by ``TRIAL``.

    Attributes:
        context: DataFrame of n trials.
        metrics: names of the m metrics, in the order in which they are shown.
        values, floors, floor_sds: ``(n, m)``, NaN where there is none.
        directions: of each metric, ``min``, ``max`` or ``none``.
    """

    context: pd.DataFrame
    metrics: list[str]
    values: NDArray[np.float64]
    floors: NDArray[np.float64]
    floor_sds: NDArray[np.float64]
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
    none, so a failure is never lost. ``sampling_sd`` is the standard deviation of the primary metric over other samples
    of the trial's model. The other rows, left out with ``history=False``, hold the
    evaluations during training. Missing text is "". ``failure_score`` is what a failed trial counts as for
    rank and tests: a constant at the real mean, which has FID ``tr Sigma_real``, coverage 0 and no modes;
    NaN for other metrics.
    """
    trials: dict[str, list[Any]] = {name: [] for name in CONTEXT}
    own: list[tuple[str, list[Cell]]] = []
    for record in records:  # one after the other, and none is kept: there may be thousands
        judged = verdict(record)
        for column in _TABLE:
            if column.read is not None:
                trials[column.name].append(column.read(record, judged))
        own.append((record.sha256, list(_cells(record, history))))
    order = sorted(range(len(own)), key=lambda i: (*(trials[name][i] for name in TRIAL), own[i][0]))
    cells = [cell for i in order for cell in own[i][1]]
    owners = [i for i in order for _ in own[i][1]]
    # Rows of one trial share their Python objects instead of copying them.
    index = np.array(owners, dtype=int)
    columns = {name: _objects(values).take(index) for name, values in trials.items()}
    columns |= {name: _objects([cell[i] for cell in cells]) for i, name in enumerate(Cell._fields)}
    return pd.DataFrame(columns)[COLUMNS].astype(DTYPES)


def _objects(values: Sequence[Any]) -> NDArray[Any]:
    column = np.empty(len(values), dtype=object)
    column[:] = values
    return column


def _cells(record: Record, history: bool) -> Iterable[Cell]:
    """Evaluations first. The last evaluation of a completed trial is the end of training."""
    named = sorted(record.metrics.items(), key=lambda item: item[1].position)
    metrics = [
        (
            name,
            (
                position,
                about.label,
                about.direction,
                about.floor,
                None if about.floor_spread is UNSET else about.floor_spread,
            ),
        )
        for position, (name, about) in enumerate(named)
    ] or [("", (0, "", "none", None, None))]
    evaluations = record.evaluations
    completed = record.status == "completed"
    if history:
        for evaluation in evaluations[:-1] if completed else evaluations:
            for name, about in metrics:
                if (value := evaluation.values.get(name)) is not None:
                    yield Cell(evaluation.images_seen, name, value, False, *about)
    budget = record.identity.trial.budget_images
    end = budget if completed else evaluations[-1].images_seen if evaluations else 0
    for name, about in metrics:
        yield Cell(end, name, record.values.get(name), True, *about)


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
    context = final.iloc[first][CONTEXT].reset_index(drop=True)
    names = final["metric"].to_numpy()
    orders = [tuple(name for name in part if name) for part in np.split(names, first[1:])] if len(first) else []
    metrics = _merge(sorted(set(zip(context["dataset"], orders, strict=True))))
    column = {name: i for i, name in enumerate(metrics)}
    place = np.array([column.get(name, -1) for name in names], dtype=int)
    known = place >= 0
    values, floors, floor_sds = (np.full((len(first), len(metrics)), np.nan) for _ in range(3))
    values[trial[known], place[known]] = final["value"].to_numpy(np.float64)[known]
    floors[trial[known], place[known]] = final["floor"].to_numpy(np.float64)[known]
    floor_sds[trial[known], place[known]] = final["floor_sd"].to_numpy(np.float64)[known]
    pairs = sorted(set(zip(names, final["direction"], strict=True)), reverse=True)
    return Trials(context, metrics, values, floors, floor_sds, dict(pairs))


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
    """The ends of rows' labels: ``@`` and eight characters of ``by`` where a group has several of it, else nothing."""
    several = rows.groupby(group, dropna=False)[by].transform("nunique") > 1
    return ("@" + rows[by].astype(str).str[:8]).where(several, "").astype(object)
