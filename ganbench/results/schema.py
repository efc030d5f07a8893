"""The types of a record: what stands where, and within which bounds.

The hash of a record proves that it was not damaged, and nothing about who made it: anybody can compute one.
What tables, paths and pages are made from is therefore checked for its type and size when a record is read
(``ganbench.utils.typed_json.convert``). Fields that are not named here, as a later version may write, are left out.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from operator import attrgetter
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType
from msgspec.structs import asdict

from ganbench.utils import canonical_json
from ganbench.utils.names import check_column, check_name
from ganbench.utils.typed_json import MOST_ITEMS, MOST_TEXT, Number, Size, Text, Whole

Status = Literal["completed", "diverged", "error", "crashed", "timeout", "oom"]
Role = Literal["variant", "baseline", "planted"]
Direction = Literal["min", "max", "none"]
STATUSES: tuple[Status, ...] = get_args(Status)
MOST_MEASURE = 1e100  # features are float32: no squared distance of theirs comes near it
MOST_EVALUATIONS = 5001  # one before training, and as many as ``ganbench run`` takes
MOST_CENTRES = 100_000

Named = Meta(max_length=MOST_ITEMS)  # of a mapping
Scores = Annotated[dict[str, Number | None], Named]
Counts = Annotated[dict[str, Whole], Named]
Faults = Annotated[dict[str, Text], Named]


class TrialIdentity(Struct, frozen=True, kw_only=True):
    """What makes the weights of a trial.

    Attributes:
        schema: version of the harness, GAN and the toolkit, ``spec.SCHEMA``.
        variant: name; ``distribution``: the installed package that offers it; ``source``: SHA-256 of its code.
        hyperparameters: every one, defaults included.
        dataset: name; ``dataset_hash``: SHA-256 of its content after decoding.
        seed: root of every random stream.
        device: type of device, ``cpu``, ``cuda`` or ``mps``: each rounds in its own way.
    """

    schema: Whole
    variant: str
    distribution: Text
    source: Text
    hyperparameters: dict[str, Any]
    dataset: str
    dataset_hash: Text
    seed: Annotated[int, Meta(ge=0, le=2**63 - 1)]
    budget_images: Size
    batch_size: Size
    precision: Text
    engine: Text
    device: Text

    def __post_init__(self) -> None:
        check_name(self.variant)
        check_name(self.dataset)


class EvaluationIdentity(Struct, frozen=True, kw_only=True):
    """What makes the numbers from the weights.

    Attributes:
        extractor: name, with the weights of a file ``inception-v3@1a2b3c4d``; ``extractor_hash``: SHA-256 of them.
        split: of the dataset, that samples are compared with.
        samples: drawn and scored at the last evaluation.
        evaluations: scored points after the untrained one.
        metrics_version: ``spec.METRICS_VERSION``.
        curve_samples: drawn and scored at the other evaluations; unset for as many.
    """

    extractor: str
    extractor_hash: Text
    split: Text
    samples: Size
    evaluations: Size
    metrics_version: Whole
    curve_samples: Size | UnsetType = UNSET

    def __post_init__(self) -> None:
        name, at, digest = self.extractor.partition("@")
        check_name(name)
        if at and not re.fullmatch(r"[0-9a-f]{8}", digest):
            raise ValueError(f"{self.extractor[:80]!r} is not the name of an extractor")


class Identity(Struct, frozen=True, kw_only=True):
    """Both parts with their hashes, the 8-digit ``protocol`` and the 8-digit ``id`` of the trial's folder.

    Scores may be compared where the protocol is the same. Which metrics were chosen is in no hash.
    """

    trial: TrialIdentity
    evaluation: EvaluationIdentity
    trial_hash: Text
    evaluation_hash: Text
    protocol: Text
    id: Text

    @classmethod
    def of(cls, trial: TrialIdentity, evaluation: EvaluationIdentity) -> Identity:
        """The identity that follows from both parts."""
        derived = identify(asdict(trial), msgspec.to_builtins(evaluation))
        return cls(**{**derived, "trial": trial, "evaluation": evaluation})

    @property
    def folder(self) -> Path:
        """Where the trial's files stand below a results folder."""
        return Path(self.trial.dataset, self.trial.variant, f"seed-{self.trial.seed}-{self.id}")


def identify(trial: Mapping[str, Any], evaluation: Mapping[str, Any]) -> dict[str, Any]:
    """Both parts, as JSON, with everything that follows from them."""
    trial_hash, evaluation_hash = canonical_json.sha256(trial), canonical_json.sha256(evaluation)
    scores = evaluation_hash
    if evaluation and "curve_samples" in evaluation:  # those of the last evaluation are the same without
        scores = canonical_json.sha256({key: value for key, value in evaluation.items() if key != "curve_samples"})
    comparable = [scores, *(trial[k] for k in ("budget_images", "batch_size", "precision", "engine"))]
    return {
        "trial": trial,
        "evaluation": evaluation,
        "trial_hash": trial_hash,
        "evaluation_hash": evaluation_hash,
        "protocol": canonical_json.sha256(comparable)[:8],
        "id": hashlib.sha256(f"{trial_hash}{evaluation_hash}".encode()).hexdigest()[:8],
    }


def is_measure(value: Any) -> bool:
    """Whether it is a number whose square, and whose ratio to another one, can be computed with."""
    return type(value) in (int, float) and (not value or 1 / MOST_MEASURE <= abs(value) <= MOST_MEASURE)


def check_measures(values: Iterable[tuple[str, float | UnsetType | None]]) -> None:
    """Raise ValueError for a number that is no measure."""
    for name, value in values:
        if value is not None and value is not UNSET and not is_measure(value):
            raise ValueError(f"{name} is not 0 or a number from {1 / MOST_MEASURE:g} to {MOST_MEASURE:g}")


class Watch(Struct, frozen=True, kw_only=True):
    """What stability is judged by at one evaluation, whatever metrics were chosen.

    Attributes:
        fid, trace: Fréchet distance, and the trace of the real features' covariance that it is read against.
        modes, mode_kl, coverage: how many true modes the samples cover, and how evenly.
        recovered_mass: of points with known modes; unset in records of version 1 of the metrics.
        d_auc, d_auc_train: how well the discriminator ranks held-out (training) images above samples.
        d_accuracy_real, d_accuracy_train, d_accuracy_fake: the share of each that it takes for what they are.
        d_scores: mean, std and median of its scores, by ``train``, ``test`` and ``fake``.
        parameter_norms: by role; ``gradient_norms``: by role, median and max since the evaluation before.
        losses: by name, mean since the evaluation before.
        updates: optimizer steps so far, by role.
    """

    fid: Number | None = None
    trace: Number | None = None
    modes: Number | None = None
    mode_kl: Number | None = None
    coverage: Number | None = None
    recovered_mass: Number | UnsetType | None = UNSET
    d_auc: Number | None = None
    d_auc_train: Number | None = None
    d_accuracy_real: Number | None = None
    d_accuracy_train: Number | None = None
    d_accuracy_fake: Number | None = None
    d_scores: Annotated[dict[str, Scores], Named] | None = None
    parameter_norms: Scores | None = None
    losses: Scores | None = None
    gradient_norms: Annotated[dict[str, Scores], Named] | None = None
    updates: Counts | None = None

    def __post_init__(self) -> None:
        for value in _measures_of(self):  # thousands of times for a table
            if value and not _LEAST <= abs(value) <= MOST_MEASURE:
                check_measures(zip(_MEASURES, _measures_of(self), strict=True))


_MEASURES = Watch.__struct_fields__[:11]
_measures_of = attrgetter(*_MEASURES)
_LEAST = 1 / MOST_MEASURE


class Evaluation(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The scores of one point of a training. Only the last one has ``fid_train``, against training images.

    ``faults`` says, by column, what a metric did that failed there: ``returned nan``. ``sampling_sd``, of the primary
    metric at the last one: its standard deviation over other samples of the same model.
    """

    step: Whole
    images_seen: Whole
    values: Scores
    faults: Faults = {}
    sampling_sd: Scores = {}
    watch: Watch | None = None
    fid_train: Number | None = None


class Nonfinite(Struct, frozen=True, kw_only=True):
    """What was the first to be infinite or no number, and the training step at which it was."""

    what: Text
    step: Whole


class Telemetry(Struct, frozen=True, kw_only=True):
    """The whole training, by role: update counts, the gradient norm's median in each tenth, the share of spikes.

    ``nondeterministic``: operations without a deterministic kernel, so that its bits need not repeat; unset for none.
    """

    updates: Counts | None = None
    gradient_norm_tenths: Annotated[dict[str, Annotated[list[Number | None], Named]], Named] | None = None
    gradient_spikes: Scores | None = None
    first_nonfinite: Nonfinite | None = None
    nondeterministic: Annotated[list[Text], Named] | UnsetType = UNSET


class MetricColumn(Struct, frozen=True, kw_only=True):
    """What tables need to know of a metric's column without the metric.

    Attributes:
        floor: its value for an ideal sampler, that is for real images in place of samples, the mean over draws.
        floor_spread: the standard deviation over these draws; unset for a single one.
        position: among the columns.
        rows_per_feature: below as many rows a feature its value is mostly bias; unset for never.
        source: SHA-256 of the code of a metric that is not ganbench's own; else unset.
        status: ``failed`` where the metric could not be computed at the last evaluation; else unset.
        note: who offers a metric that failed, what it did, and at which evaluations; unset for one that never did.
        floor_note: the same of its floor.
    """

    label: Text
    direction: Direction
    floor: Number | None = None
    position: Annotated[int, Meta(ge=0, le=10**6)] = 0
    rows_per_feature: Number | UnsetType = UNSET
    source: Text | UnsetType = UNSET
    status: Literal["failed"] | UnsetType = UNSET
    note: Text | UnsetType = UNSET
    floor_note: Text | UnsetType = UNSET
    floor_spread: Number | UnsetType = UNSET

    @property
    def notes(self) -> list[str]:
        """What is to be said of the column beside its numbers."""
        return [note for note in (self.note, self.floor_note) if isinstance(note, str)]


Columns = Annotated[dict[str, MetricColumn], Named]


def check_columns(metrics: Mapping[str, MetricColumn]) -> None:
    """Raise ValueError for a name that no column of a table can have."""
    for name in metrics:
        check_column(name)


Point = Annotated[list[Number], Meta(min_length=2, max_length=2)]


class Reference(Struct, frozen=True, kw_only=True):
    """The scale of the real data.

    Attributes:
        trace: of the covariance of the real features that samples are compared with.
        modes: how many true ones; ``centres``: their first two coordinates.
        real, fake, train: rows that are compared; ``features``: of each row, which earlier versions did not write.
    """

    trace: Number | None = None
    modes: Number | None = None
    centres: Annotated[list[Point], Meta(max_length=MOST_CENTRES)] | None = None
    real: Number | None = None
    fake: Number | None = None
    train: Number | None = None
    features: Number | None = None

    def __post_init__(self) -> None:
        check_measures((("trace", self.trace), ("modes", self.modes)))
        for centre in self.centres or ():
            check_measures(zip(("a centre",) * 2, centre, strict=True))


def check_environment(environment: Mapping[str, Any]) -> None:
    """Raise ValueError unless ``packages``, if they are there, are texts by name."""
    packages = environment.get("packages", {})
    if type(packages) is not dict or len(packages) > MOST_ITEMS:
        raise ValueError(f"packages are not an object of at most {MOST_ITEMS:,} fields")
    for name, version in packages.items():
        if not (version is None or (type(version) is str and len(version) <= MOST_TEXT)):
            raise ValueError(f"package {name[:80]!r} is not a text of at most {MOST_TEXT:,} characters")


class Record(Struct, frozen=True, kw_only=True):
    """A finished trial, as ``record.json`` holds it.

    Attributes:
        schema: version of this file.
        label: name of the variant with the settings that are not its defaults.
        primary: metric that ranks go by.
        metrics: columns by name; ``values``: at the end of training, None where there is none.
        environment: versions, processor, threads: an open mapping, of which ``packages`` are texts.
        reason: why it did not complete.
        fid_train: FID against training images.
        parameters: of the networks, by role.
        adversarial: whether there is a discriminator; ``decision_threshold``: where it says "real".
        state_sha256: fingerprint of the trained state.
        conditional: True where the variant is given the classes of the data, which ranks it apart; else unset.
        true_family: True where the data were drawn from the family of distributions that it fits; else unset.
        sha256: of everything else.
    """

    schema: int
    identity: Identity
    label: Text
    role: Role
    primary: str
    metrics: Columns
    reference: Reference
    environment: dict[str, Any]
    environment_hash: Text
    status: Status
    values: Scores
    evaluations: Annotated[list[Evaluation], Meta(max_length=MOST_EVALUATIONS)]
    reason: Text | None = None
    fid_train: Number | None = None
    parameters: Counts = {}
    adversarial: bool | None = None
    decision_threshold: Number | None = None
    telemetry: Telemetry | None = None
    state_sha256: Text | None = None
    conditional: bool | UnsetType = UNSET
    true_family: bool | UnsetType = UNSET
    sha256: str = ""

    def __post_init__(self) -> None:
        check_column(self.primary)
        check_columns(self.metrics)
        check_environment(self.environment)

    @property
    def title(self) -> str:
        """For messages: ``dcgan on digits, seed 0``."""
        return f"{self.label} on {self.identity.trial.dataset}, seed {self.identity.trial.seed}"


class Outcome(Struct, frozen=True, kw_only=True):
    """How a trial ended and what it produced, as its worker says; fields as in ``Record``.

    One without a word from the trial itself (it crashed, or ran out of time) has only ``status`` and ``reason``.
    """

    status: Status
    reason: Text | None
    environment: dict[str, Any] | None = None
    values: Scores = {}
    fid_train: Number | None = None
    parameters: Counts = {}
    adversarial: bool | None = None
    decision_threshold: Number | None = None
    evaluations: Annotated[list[Evaluation], Meta(max_length=MOST_EVALUATIONS)] = []
    telemetry: Telemetry | None = None
    first_nonfinite: Nonfinite | None = None
    state_sha256: Text | None = None

    @property
    def full_telemetry(self) -> Telemetry | None:
        """The telemetry with what was found not to be finite, which ended it."""
        if self.telemetry is None:
            return None
        return msgspec.structs.replace(self.telemetry, first_nonfinite=self.first_nonfinite)


class ProgressLine(Struct, frozen=True, kw_only=True):
    """A line of ``progress.jsonl``: the trial was started, how many images it has seen, or an evaluation."""

    attempt: Whole | None = None
    images: Whole | None = None
    evaluation: Evaluation | None = None
