"""The kinds of thing a plugin can offer beside variants: datasets, extractors, metrics and reporters.

Each is declared either by arguments, ``Dataset(name="spiral", ...)``, or by a subclass whose class
attributes have the same names; both give an instance, which is what a hook returns. Nothing here
imports torch: a metric or a reporter is written with NumPy and pandas alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ganbench.utils.names import check_column, check_name

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from ganbench.plugin.report import Report

Direction = Literal["min", "max", "none"]


class NotApplicable(Exception):
    """Raised by a metric that has no meaning here; its cell stays empty. The message says why."""


class MetricError(ValueError):
    """Raised by a metric for input that has no defined score: too few rows, or a value that is not finite."""


class Kind:
    """Fields given as arguments, or as class attributes of a subclass.

    Attributes:
        name: what it is called.
        expected_failed_checks: reasons by the names of conformance checks that it is known to fail; a keyword, of
            every kind.
    """

    _fields: ClassVar[tuple[str, ...]] = ("name",)
    name: str
    expected_failed_checks: Mapping[str, str] = {}

    def __init__(self, *values: Any, **named: Any) -> None:
        kind = type(self).__name__
        if len(values) > len(self._fields):
            raise TypeError(f"{kind} takes at most {len(self._fields)} arguments: {', '.join(self._fields)}")
        given = dict(zip(self._fields, values, strict=False))
        for key, value in named.items():
            if key not in (*self._fields, "expected_failed_checks") or key in given:
                raise TypeError(f"{kind} got an unknown or repeated argument {key!r}; it has {', '.join(self._fields)}")
            given[key] = value
        for key, value in given.items():
            setattr(self, key, value)
        missing = [key for key in self._fields if not hasattr(self, key)]
        if missing:
            raise TypeError(f"{kind} needs {', '.join(missing)}")
        check_name(self.name)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"


class Dataset(Kind):
    """Real data in two splits.

    ``load(split)`` is called with ``"train"`` or ``"test"`` (the held-out split that scores compare
    with) and returns ``(data, labels)``: uint8 images ``(n, channels, height, width)`` or float32
    points ``(n, 2)``, and int64 labels ``(n,)`` in ``0 .. classes - 1``, or None. It must return the
    same values each time: the SHA-256 of both splits is part of every record's identity.

    Attributes:
        name: what ``--datasets`` calls it.
        shape: of one sample: ``(channels, height, width)`` for images, ``(2,)`` for points.
        classes: number of classes, or None without labels.
        primary: the metric that ranks variants here (``fid`` for images, ``coverage`` for points).
        budget_images: real samples a trial sees unless ``--images`` says otherwise.
        load: the loader described above.
        centres: true modes ``(modes, 2)`` of points whose distribution is known, else None.
        std: standard deviation of each mode, else None.
    """

    _fields = ("name", "shape", "classes", "primary", "budget_images", "load", "centres", "std")
    shape: tuple[int, ...]
    classes: int | None = None
    primary: str = "fid"
    budget_images: int
    load: Callable[[str], tuple[Any, Any]]
    centres: Any = None
    std: float | None = None


class Extractor(Kind):
    """What turns samples into features, and into class probabilities if it can.

    ``extractor(batch)`` takes a torch tensor: uint8 images ``(n, channels, height, width)``, float32
    images unrounded in [0, 255], or float32 points ``(n, 2)``; it returns ``(features,
    probabilities)``: float tensors ``(n, size)`` and ``(n, classes)``, or None for the second.
    Scores depend on it, so ``weights_hash`` (hex SHA-256) is part of a record's identity.

    Attributes:
        name: what ``--extractor`` calls it; every score is labelled with it.
        size: number of features a sample has.
        weights_hash: hex SHA-256 of whatever decides its output.
    """

    _fields = ("name", "size", "weights_hash")
    size: int
    weights_hash: str

    def __call__(self, batch: Any) -> tuple[Any, Any]:
        raise NotImplementedError(f"{self!r} does not define __call__(batch)")


class Metric(Kind):
    """A score of samples: ``metric(evidence)`` returns a float, or a mapping of names to floats.

    It raises NotApplicable where it has no meaning: an empty cell, not a failure.

    Attributes:
        name: column name.
        label: what people read, such as ``FID``.
        direction: ``min`` if lower is better, ``max`` if higher is, ``none`` if neither.
        cost: ``each`` evaluation, or only at the ``end`` of a trial.
        needs: which of ``features, probabilities, samples, labels, history, variant`` it reads.
        constants: what decides its value beside the evidence (k, splits, ...).
        floor: real images that stand in for samples when its floor is computed: ``train``,
            ``test`` or None for no floor.
        rows, requires: fewest real and fake rows that have a score (0: no bound); what else there must be, in words.
        rows_per_feature: below as many rows a feature its value is mostly bias, and tables warn; 0 for never.
    """

    _fields = ("name", "label", "direction", "cost", "needs", "constants")
    label: str
    direction: Direction
    cost: Literal["each", "end"] = "each"
    needs: frozenset[str] | set[str] = frozenset({"features"})
    constants: Mapping[str, Any] = {}
    floor: Literal["train", "test"] | None = "train"
    rows: tuple[int, int] = (0, 0)
    requires: str = ""
    rows_per_feature: int = 0

    def __init__(self, *values: Any, **named: Any) -> None:
        super().__init__(*values, **named)
        check_column(self.name)

    def __call__(self, evidence: Evidence) -> float | Mapping[str, float]:
        raise NotImplementedError(f"{self!r} does not define __call__(evidence)")

    def interval(self, evidence: Evidence, value: float) -> tuple[float, float] | None:
        """Where ``value`` would lie for other samples, ``(low, high)``; None where no bootstrap is sound."""
        return None

    @property
    def about(self) -> dict[str, Any]:
        """What a record keeps of it, for tables that are made without it."""
        about = {"label": self.label, "direction": self.direction, "rows_per_feature": self.rows_per_feature}
        return {key: value for key, value in about.items() if value}


class Reporter(Kind):
    """A writer of tables in a format of its own. It defines one of two methods; what it is given, it does not change.

    ``write(leaderboard, trials, folder)`` gets two DataFrames, one row a variant and one row a trial, and the Path of
    the folder to write into. ``write_report(report, folder)`` gets a ``ganbench.plugin.Report``: the same two frames
    with labels and directions of the metrics, the conditions of each protocol, the records, and the statistics.

    Attributes:
        name: what ``--format`` calls it.
        suffix: of the file it writes, with the dot.
    """

    _fields = ("name", "suffix")
    suffix: str

    def write(self, leaderboard: pd.DataFrame, trials: pd.DataFrame, folder: Path) -> None:
        raise NotImplementedError(f"{self!r} defines neither write(leaderboard, trials, folder) nor write_report")

    def write_report(self, report: Report, folder: Path) -> None:
        self.write(report.leaderboard, report.trials, folder)


@dataclass(frozen=True)
class Side:
    """Samples of one kind, seen by the extractor once. Rows belong together.

    Attributes:
        samples: uint8 images ``(n, channels, height, width)`` or float32 points ``(n, 2)``.
        features: ``(n, d)``.
        probabilities: ``(n, classes)``, or None where the extractor gives none.
        labels: int64 ``(n,)``, or None.
    """

    samples: np.ndarray
    features: np.ndarray
    probabilities: np.ndarray | None = None
    labels: np.ndarray | None = None
    _known: dict[Any, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def once(self, compute: Callable[[Side], Any]) -> Any:
        """``compute(self)``, remembered: what many evaluations need of one real side is done for the first."""
        if compute not in self._known:
            self._known[compute] = compute(self)
        return self._known[compute]


@dataclass(frozen=True)
class Scores:
    """What the discriminator says (``Variant.score_real``); larger is more real.

    Attributes:
        train: scores of training images ``(n,)``.
        test: scores of held-out images ``(n,)``.
        fake: scores of the variant's own samples ``(n,)``.
        threshold: where the discriminator says "real"; None for a critic.
    """

    train: np.ndarray
    test: np.ndarray
    fake: np.ndarray
    threshold: float | None = None


@dataclass
class Evidence:
    """Everything a metric may read about one evaluation.

    Attributes:
        fake: the variant's samples.
        real: the held-out split that they are compared with.
        train: called without arguments, the whole training split (features are computed on first use).
        dataset: what was learnt.
        seed: for a metric's own random draws.
        scores: of the discriminator, or None without one.
        history: the evaluations before this one.
        variant: the model itself, in eval mode.
        extractor: what made the features, for samples that a metric draws itself.
        batch_size: of training: the discriminator is asked about as many rows at a time.
    """

    fake: Side
    real: Side
    train: Callable[[], Side]
    dataset: Dataset
    seed: int = 0
    scores: Scores | None = None
    history: list[dict[str, Any]] = field(default_factory=list)
    variant: Any = None
    extractor: Extractor | None = None
    batch_size: int = 64
    _known: dict[Any, Any] = field(default_factory=dict, repr=False)

    def once(self, compute: Callable[[Evidence], Any]) -> Any:
        """``compute(self)``, remembered: metrics that share a pass share its work."""
        if compute not in self._known:
            self._known[compute] = compute(self)
        return self._known[compute]
