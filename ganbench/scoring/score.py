"""Scores of samples that exist already: ``ganbench score``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganbench.discovery.loader import discover
from ganbench.discovery.source_hash import source_hash
from ganbench.harness import environment
from ganbench.harness.defaults import default_extractor
from ganbench.harness.floors import FLOOR_DRAWS, stand_ins
from ganbench.harness.metric_values import apply
from ganbench.harness.real_data import RealData
from ganbench.metrics import features_of
from ganbench.metrics.bias import bias_warnings
from ganbench.metrics.intervals import LEVEL
from ganbench.metrics.samples import EXTRACTOR_BATCH
from ganbench.plugin.interfaces import Dataset, Evidence, Extractor, Metric, MetricError, NotApplicable, Side
from ganbench.scoring.feature_cache import Cache, CachedExtractor, CachedStatistics, folder
from ganbench.scoring.meter import Meter, MeteredExtractor
from ganbench.scoring.samples import Request, Samples, load
from ganbench.utils import seeding
from ganbench.utils.errors import UsageError
from ganbench.utils.seeding import derive

METRICS = ("fid", "kid", "is", "precision", "recall", "density", "coverage")
IMAGE_EXTRACTOR = "inception-v3"  # the extractor of images that belong to no dataset


@dataclass(frozen=True)
class Score:
    """One line of the table.

    Attributes:
        floor: None where there is none.
        low, high: bootstrap interval of ``value`` over samples; None where a bootstrap is not sound.
    """

    name: str
    label: str
    direction: str
    value: float | None
    floor: float | None
    low: float | None
    high: float | None


@dataclass
class Scores:
    """What scoring found.

    Attributes:
        about: what was compared, how many, and what decided the numbers; JSON values.
        scores: in the order that was asked for.
        notes: what the reader must know to read them.
    """

    about: dict[str, Any]
    scores: list[Score]
    notes: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        metrics = {one.name: {k: v for k, v in vars(one).items() if k != "name"} for one in self.scores}
        return {**self.about, "metrics": metrics, "notes": self.notes}


@dataclass(frozen=True)
class Options:
    """How samples are scored.

    Attributes:
        extractor: name; None for the dataset's own classifier, or Inception for images of no dataset.
        metrics: names; none for those that need nothing but two sets of samples.
        fast: the extractor's variant in faster arithmetic.
        cache: keep features, and find them.
    """

    request: Request = field(default_factory=Request)
    extractor: str | None = None
    weights: Path | None = None
    fast: bool = False
    metrics: tuple[str, ...] = ()
    device: str = "auto"
    threads: int = 1
    cache: bool = False


def score(real_text: str, fake_text: str, options: Options, meter: Meter | None = None) -> Scores:
    """Compare two sets of samples; the arguments are what ``--real`` and ``--fake`` take.

    Raises:
        UsageError: something cannot be read, or not be compared. The message says what to do.
    """
    seeding.pin(options.threads)
    device = environment.select_device(options.device)
    meter = meter or Meter()
    held, fake = load(real_text, options.request), load(fake_text, options.request)
    held.data, fake.data = with_equal_channels(held, fake)
    dataset = held.dataset or dataset_of_samples(held)
    chosen, distribution = choose_extractor(held, fake, options)
    catalog = discover([("metric", name) for name in options.metrics or METRICS])
    metrics: list[Metric] = [catalog.get("metric", name).thing for name in options.metrics or METRICS]
    for metric in metrics:
        if options.metrics and (missing := metric.needs & {"variant", "history"}):
            raise UsageError(f"metric {metric.name} needs {' and '.join(sorted(missing))}, which samples do not have")
    inner: Extractor = MeteredExtractor(chosen, meter)
    cached = None
    if options.cache:
        cached = CachedExtractor(inner, Cache(folder()), source_hash(type(chosen), distribution))
    inputs = MetricInputs(held, dataset, cached or inner, len(fake.data), device)
    try:
        with meter.measuring(f"{chosen.name}, {real_text}"):
            first = inputs.side(held)
        with meter.measuring(f"{chosen.name}, {fake_text}"):
            second = inputs.side(fake)
        kept = CachedStatistics(cached.cache, features_of(first)) if cached is not None else None
        evidence = inputs.evidence(second, first, derive(options.request.seed or 0, "metrics"))
        values = compute_metrics(metrics, evidence)
        bounds = intervals(metrics, values, evidence)
        with meter.measuring(f"{chosen.name}, floor"):
            floors = inputs.floors(metrics, first)
        if kept is not None:
            kept.keep()
    except ValueError as reason:  # an extractor's or a metric's: of the wrong shape, or too few
        if isinstance(reason, UsageError):
            raise
        raise UsageError(f"{fake_text} cannot be compared with {real_text}: {reason}") from None
    lines = [
        Score(
            name,
            f"{f'{metric.label} {name[len(metric.name) + 1 :]}'.strip()} ({chosen.name})",
            metric.direction,
            value,
            floors.get(name),
            *bounds.get(name, (None, None)),
        )
        for metric in metrics
        for name, value in values[metric.name].items()
    ]
    about = {
        "real": {"source": real_text, "n": len(held.data), "sha256": held.hash},
        "fake": {"source": fake_text, "n": len(fake.data), "sha256": fake.hash},
        "extractor": chosen.name,
        "extractor_hash": chosen.weights_hash,
        "features": int(first.features.shape[1]),
        "interval_level": LEVEL,
        "size": options.request.size,
        "decode": options.request.decode,
        "seed": options.request.seed,
        "device": device.type,
    }
    if cached is not None:
        about["cache"] = {"found": cached.found, "computed": cached.missed}
    notes = [*held.notes, *fake.notes, *inputs.notes, *chosen.notes, *comparison_warnings(metrics, held, fake, first)]
    return Scores(about, lines, list(dict.fromkeys(notes)))


def with_equal_channels(one: Samples, other: Samples) -> tuple[Tensor, Tensor]:
    """Both sets as the same kind of thing; grey images become RGB where the others are."""
    first, second = one.data, other.data
    if first.dim() != second.dim():
        raise UsageError(f"{one.title} and {other.title} are not of one kind: points are compared with points")
    if first.dim() == 4 and first.shape[1] != second.shape[1]:
        first, second = (data.expand(-1, 3, -1, -1).contiguous() for data in (first, second))
    return first, second


def dataset_of_samples(samples: Samples) -> Dataset:
    """What stands for the dataset of samples that belong to none: neither labels, modes nor a training split."""

    def load(split: str) -> tuple[Any, Any]:
        raise NotApplicable("these samples have no other split")

    return Dataset(name="samples", shape=tuple(samples.data.shape[1:]), budget_images=0, load=load)


def choose_extractor(held: Samples, fake: Samples, options: Options) -> tuple[Extractor, str]:
    """By its name, by the dataset, by what a trained variant was scored with, or by the kind of samples.

    Returns it and the distribution that offers it.
    """
    own = default_extractor(held.dataset) if held.dataset is not None else None
    name = options.extractor or own or fake.extractor or (IMAGE_EXTRACTOR if held.data.dim() == 4 else "identity")
    if options.fast:
        name = f"{name}-fast"
    offer = discover([("extractor", name)]).get("extractor", name)
    chosen: Extractor = offer.thing
    return chosen.with_weights(options.weights) if options.weights else chosen, offer.distribution


def comparison_warnings(metrics: Sequence[Metric], held: Samples, fake: Samples, side: Side) -> list[str]:
    """What makes these numbers hard to compare."""
    n, d = min(len(held.data), len(fake.data)), side.features.shape[1]
    found = bias_warnings([metric.about for metric in metrics], n, d)
    if held.data.shape[2:] != fake.data.shape[2:]:
        first, second = ("x".join(map(str, data.shape[2:])) for data in (held.data, fake.data))
        found.append(f"{held.title} has images of {first}, {fake.title} of {second}: the network resizes both")
    if held.hash == fake.hash:
        found.append(f"{fake.title} holds the same samples as {held.title}")
    return found


class MetricInputs:
    """Turns samples into what metrics read, and a dataset's training images into floors."""

    def __init__(self, held: Samples, dataset: Dataset, extractor: Extractor, fakes: int, device: torch.device) -> None:
        self.extractor, self.dataset, self.device = extractor, dataset, device
        # Only a held-out split has training images to be compared with.
        self.real = RealData(dataset, extractor, fakes, device) if held.split else None
        self.has_floor = held.split == "test"
        self.notes = self.real.notes if self.real else []
        if self.real is None and extractor.learns:
            raise UsageError(f"extractor {extractor.name} is trained on a dataset: name it with --real, or another one")

    def side(self, samples: Samples) -> Side:
        with torch.no_grad():
            outputs = [self.extractor(chunk.to(self.device)) for chunk in samples.data.split(EXTRACTOR_BATCH)]
        features = torch.cat([torch.as_tensor(found).float().cpu() for found, _ in outputs]).numpy()
        probabilities = None
        if outputs[0][1] is not None:
            probabilities = torch.cat([torch.as_tensor(found).float().cpu() for _, found in outputs]).numpy()
        return Side(samples.data.numpy(), features, probabilities, samples.labels)

    def train(self) -> Side:
        if self.real is None or not self.has_floor:
            raise NotApplicable("there is no training split: name a dataset with --real")
        return self.real.train

    def evidence(self, fake: Side, held: Side, seed: int = 0) -> Evidence:
        return Evidence(fake, held, self.train, self.dataset, seed, extractor=self.extractor)

    def floors(self, metrics: Sequence[Metric], held: Side) -> dict[str, float | None]:
        """Each score of as many real training images: the mean over draws, as ``ganbench run`` has it."""
        real = self.real
        if real is None or not self.has_floor:
            return {}
        draws = 1 if self.extractor.dear else FLOOR_DRAWS
        found: dict[str, list[float]] = {}
        for kind in ("train", "test"):
            chosen = [metric for metric in metrics if metric.floor == kind]
            for side in stand_ins(real, kind, held, draws, whole=True) if chosen else ():
                for values in compute_metrics(chosen, self.evidence(side, held)).values():
                    for name, value in values.items():
                        if value is not None:
                            found.setdefault(name, []).append(value)
        return {name: float(np.mean(values)) for name, values in found.items()}


def compute_metrics(metrics: Sequence[Metric], evidence: Evidence) -> dict[str, dict[str, float | None]]:
    """Values by metric and column name."""
    values = {}
    for metric in metrics:
        try:
            values[metric.name] = apply([metric], evidence)
        except MetricError as reason:
            raise UsageError(f"metric {metric.name}: {reason}") from None
    return values


def intervals(
    metrics: Sequence[Metric], values: dict[str, dict[str, float | None]], evidence: Evidence
) -> dict[str, tuple[float, float]]:
    """Bootstrap intervals over samples of the scores that have one."""
    found = {}
    for metric in metrics:
        value = values[metric.name].get(metric.name)
        if value is not None and (interval := metric.interval(evidence, value)) is not None:
            found[metric.name] = interval
    return found
