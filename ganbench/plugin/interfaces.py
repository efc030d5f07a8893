"""The kinds of thing a plugin can offer beside variants: datasets, extractors, metrics and reporters.

Each is declared either by arguments, ``Dataset(name="spiral", ...)``, or by a subclass whose class
attributes have the same names; both give an instance, which is what a hook returns. Nothing here
imports torch: a metric or a reporter is written with NumPy and pandas alone.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, dataclass_transform

from ganbench.utils.errors import UsageError
from ganbench.utils.names import check_metric, check_name

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from ganbench.plugin.report import Report

Direction = Literal["min", "max", "none"]
Offered = TypeVar("Offered", bound="Kind")


class NotApplicable(Exception):
    """Raised by a metric that does not apply here, such as one that needs labels; its cell stays empty."""


class MetricError(ValueError):
    """Raised by a metric for input that has no defined score: too few rows, or a value that is not finite."""


class _NotGiven:
    def __repr__(self) -> str:
        return "..."


_NOT_GIVEN: Any = _NotGiven()
REQUIRED: Any = _NOT_GIVEN  # the default of a field that an argument or a subclass has to give


@dataclass_transform(eq_default=False)
def plugin_dataclass(cls: type[Offered]) -> type[Offered]:
    """Make a dataclass whose fields may be given as arguments or as class attributes of a subclass.

    An argument that is left out sets nothing, so that a subclass's attribute, method or property of that name
    counts. That is why every field has a default here; REQUIRED is the default of one that has none.
    """
    defaults = {name: vars(cls)[name] for name in cls.__annotations__ if name in vars(cls)}
    for name in defaults:
        setattr(cls, name, _NOT_GIVEN)
    dataclass(eq=False, repr=False)(cls)
    for name, value in defaults.items():
        if value is REQUIRED:
            delattr(cls, name)
        else:
            setattr(cls, name, value)
    return cls


@plugin_dataclass
class Kind:
    """The base of datasets, extractors, metrics and reporters.

    Attributes:
        name: what it is called.
        expected_failed_checks: reasons by the names of conformance checks that it is known to fail.
    """

    name: str = REQUIRED
    _: KW_ONLY
    expected_failed_checks: Mapping[str, str] = {}

    if not TYPE_CHECKING:  # a checker would take any attribute for a known one

        def __setattr__(self, name: str, value: Any) -> None:
            if value is not _NOT_GIVEN:
                super().__setattr__(name, value)

    def __post_init__(self) -> None:
        """Check what was given; raises TypeError for a field that is missing, ValueError for a name no file can have.

        A subclass that has more to set up may override it, and then calls ``super().__post_init__()``.
        """
        names = [f.name for f in fields(self)]
        # Looked up without running what computes it: a property may read a file, or fetch one.
        missing = [name for name in names if inspect.getattr_static(self, name, _NOT_GIVEN) is _NOT_GIVEN]
        if missing:
            raise TypeError(f"{type(self).__name__} needs {', '.join(missing)}")
        check_name(self.name)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    def member(self, name: str) -> Kind | None:
        """Return the member of this family that a longer name selects: for ``folder:photos`` the images in that folder.

        Datasets and extractors are asked, by what comes before the first ``:`` or ``@`` of the name, or before or
        after its last ``-``. None, as by default, for a name that is none of its own.
        """
        return None

    @property
    def is_family(self) -> bool:
        """Whether this is a family, such as ``folder`` of all ``folder:PATH``: whether its class defines ``member``."""
        return type(self).member is not Kind.member


@plugin_dataclass
class Dataset(Kind):
    """Real data, split into training data and held-out data.

    ``load(split)`` is called with ``"train"`` or ``"test"`` (the held-out split that scores compare
    with) and returns ``(data, labels)``: uint8 images ``(n, channels, height, width)`` or float32
    points or rows of a table ``(n, d)``, and int64 labels ``(n,)`` in ``0 .. classes - 1``, or None. It must return the
    same values each time: the SHA-256 of both splits is part of every record's identity.

    Attributes:
        name: what ``--datasets`` calls it.
        shape: of one sample: ``(channels, height, width)`` for images, which need not be square; ``(d,)`` for points.
        classes: number of classes, or None without labels.
        primary: the metric that ranks variants here: ``fid`` for images, ``recovered_mass`` for points whose modes are
            known.
        budget_images: real samples a trial sees unless ``--images`` says otherwise.
        load: the loader described above.
        centres: true modes ``(modes, d)`` of points whose distribution is known, else None.
        std: standard deviation of each mode, else None.
        samples: fakes that an evaluation compares with it unless ``--samples`` says otherwise; None for 10,000.
        family: the distributions that it was drawn from, where they are known, such as ``gaussian mixture``.
        notes: what the user should be told whenever it is used.
    """

    shape: tuple[int, ...] = REQUIRED
    classes: int | None = None
    primary: str = "fid"
    budget_images: int = REQUIRED
    load: Callable[[str], tuple[Any, Any]] = REQUIRED
    centres: Any = None
    std: float | None = None
    _: KW_ONLY
    samples: int | None = None
    family: str | None = None
    notes: Sequence[str] = ()


@plugin_dataclass
class Extractor(Kind):
    """A network or function from samples to features, and to class probabilities if it has any.

    ``extractor(batch)`` takes a torch tensor: uint8 images ``(n, channels, height, width)``, float32
    images unrounded in [0, 255], or float32 points ``(n, 2)``; it returns ``(features,
    probabilities)``: float tensors ``(n, size)`` and ``(n, classes)``, or None for the second.
    Scores depend on it, so ``weights_hash`` (hex SHA-256) is part of a record's identity.

    Attributes:
        name: what ``--extractor`` calls it; every score is labelled with it.
        size: number of features a sample has.
        weights_hash: hex SHA-256 of whatever decides its output.
        dear: whether it takes tenths of a second an image on one core, or has weights to download: it is not tried
            out, and sees few images at a time.
        notes: what the user should be told whenever it is used.
    """

    size: int = REQUIRED
    weights_hash: str = REQUIRED
    _: KW_ONLY
    dear: bool = False
    notes: Sequence[str] = ()

    def __call__(self, batch: Any) -> tuple[Any, Any]:
        """Features ``(n, size)`` of a batch, and class probabilities ``(n, classes)`` or None."""
        raise NotImplementedError(f"{self!r} does not define __call__(batch)")

    def fit(self, dataset: Dataset, splits: dict[str, tuple[Any, Any]], content: str) -> Sequence[str]:
        """Learn from a dataset before the first use; return what the user should be told. By default it learns nothing.

        Args:
            dataset: what is going to be scored.
            splits: its ``train`` and ``test`` as tensors: uint8 images or float32 points, and labels or None.
            content: hex SHA-256 of both.

        Raises:
            ganbench.extractors.Unfit: it cannot learn from this dataset. The message says why.
        """
        return ()

    @property
    def learns(self) -> bool:
        """Whether it is of use only after it has learnt from a dataset: whether its class defines ``fit``."""
        return type(self).fit is not Extractor.fit

    def with_weights(self, path: Path) -> Extractor:
        """The same network with the weights in a file, under another name: what ``--weights`` asks for.

        Raises:
            UsageError: it takes no weights, as by default, or the file cannot be read.
        """
        raise UsageError(f"--weights {path}: extractor {self.name} takes no weights; inception-v3 does")


NEEDS = frozenset({"features", "probabilities", "samples", "labels", "history", "variant", "held_out"})


@plugin_dataclass
class Metric(Kind):
    """A score of samples: ``metric(evidence)`` returns a float, or a mapping of names to floats.

    It raises NotApplicable where it has no meaning: an empty cell, not a failure.

    Attributes:
        name: column name.
        label: what people read, such as ``FID``.
        direction: ``min`` if lower is better, ``max`` if higher is, ``none`` if neither.
        cost: ``each`` evaluation, or only at the ``end`` of a trial.
        needs: which of ``NEEDS`` it reads. Where ``samples`` is not among them, ``ganbench score`` keeps no pixels, and
            reads them again if the metric asks all the same. ``held_out``: it has no meaning where
            ``evidence.real`` are training samples (``run --reference train``).
        constants: what decides its value beside the evidence (k, splits, ...).
        floor: real images that stand in for samples when its floor is computed: ``draws``, training images drawn
            independently, which is what an ideal sampler does; ``train``, different training images, for what
            copies would spoil (neighbours, duplicates); ``test`` (held-out ones); or None for no floor.
        rows, requires: fewest real and fake rows that have a score (0: no bound); what else there must be, in words.
        rows_per_feature: below as many rows a feature its value is mostly bias, and tables warn; 0 for never.
        biased_by: what moves its value and should not, in words (``number of samples``, ``outliers``); "" for nothing.
    """

    label: str = REQUIRED
    direction: Direction = REQUIRED
    cost: Literal["each", "end"] = "each"
    needs: frozenset[str] | set[str] = frozenset({"features"})
    constants: Mapping[str, Any] = {}
    _: KW_ONLY
    floor: Literal["draws", "train", "test"] | None = "train"
    rows: tuple[int, int] = (0, 0)
    requires: str = ""
    rows_per_feature: int = 0
    biased_by: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_metric(self.name)

    def __call__(self, evidence: Evidence) -> float | Mapping[str, float]:
        """The score of one evaluation's samples; raises NotApplicable where it has no meaning."""
        raise NotImplementedError(f"{self!r} does not define __call__(evidence)")

    def interval(self, evidence: Evidence, value: float) -> tuple[float, float] | None:
        """The bootstrap interval ``(low, high)`` of ``value`` over samples; None where a bootstrap is not sound."""
        return None

    @property
    def about(self) -> dict[str, Any]:
        """What a record keeps of the metric, so that tables can be made where it is not installed."""
        about = {"label": self.label, "direction": self.direction, "rows_per_feature": self.rows_per_feature}
        return {key: value for key, value in about.items() if value}


@plugin_dataclass
class Reporter(Kind):
    """A writer of the result tables in one file format. It defines one of two methods and leaves its input as it is.

    ``write(leaderboard, trials, folder)`` gets two DataFrames, one row a variant and one row a trial, and the Path of
    the folder to write into. ``write_report(report, folder)`` gets a ``ganbench.plugin.Report``: the same two frames
    with labels and directions of the metrics, the conditions of each protocol, the records, and the statistics.

    Attributes:
        name: what ``--format`` calls it.
        suffix: of the file it writes, with the dot.
    """

    suffix: str = REQUIRED

    def write(self, leaderboard: pd.DataFrame, trials: pd.DataFrame, folder: Path) -> None:
        """Write the tables into the folder."""
        raise NotImplementedError(f"{self!r} defines neither write(leaderboard, trials, folder) nor write_report")

    def write_report(self, report: Report, folder: Path) -> None:
        """Write the tables of a report into the folder; by default with ``write``."""
        self.write(report.shown, report.trials, folder)


@dataclass(frozen=True)
class Side:
    """Samples with their features: the real or the fake ones of an evaluation. Row i of each array is sample i.

    Attributes:
        samples: uint8 images ``(n, channels, height, width)`` or float32 points ``(n, 2)``.
        features: ``(n, d)``.
        probabilities: ``(n, classes)``, or None where the extractor gives none.
        labels: int64 ``(n,)``, or None.
        device: torch's name of where the extractor computed; metrics of all pairs of rows compute there too.
    """

    samples: np.ndarray
    features: np.ndarray
    probabilities: np.ndarray | None = None
    labels: np.ndarray | None = None
    device: str = "cpu"
    _known: dict[Any, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def copy(self) -> Side:
        """The same with arrays of its own, which may be changed."""
        parts = (self.probabilities, self.labels)
        probabilities, labels = (None if part is None else part.copy() for part in parts)
        return Side(self.samples.copy(), self.features.copy(), probabilities, labels, self.device)

    def once(self, compute: Callable[[Side], Any]) -> Any:
        """``compute(self)``, computed once and kept: evaluations share what depends on the real samples alone."""
        if compute not in self._known:
            self._known[compute] = compute(self)
        return self._known[compute]


@dataclass(frozen=True)
class Scores:
    """The discriminator's outputs (``Variant.score_real``); larger is more real.

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
        real: the held-out samples that they are compared with; training ones where ``held_out`` is False.
        train: called without arguments, the whole training split (features are computed on first use).
        dataset: what was learnt.
        seed: for a metric's own random draws.
        scores: of the discriminator, or None without one.
        history: the evaluations before this one.
        variant: the model itself, in eval mode.
        extractor: what made the features, for samples that a metric draws itself.
        batch_size: of training: the discriminator is asked about as many rows at a time.
        held_out: whether ``real`` is the held-out split.
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
    held_out: bool = True
    _known: dict[Any, Any] = field(default_factory=dict, repr=False)

    def once(self, compute: Callable[[Evidence], Any]) -> Any:
        """``compute(self)``, computed once and kept: metrics that need the same intermediate result share it."""
        if compute not in self._known:
            self._known[compute] = compute(self)
        return self._known[compute]
