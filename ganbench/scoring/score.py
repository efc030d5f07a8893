"""Scores of samples that exist already: ``ganbench score``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganbench.discovery.entry_points import FILE
from ganbench.discovery.loader import discover
from ganbench.discovery.source_hash import source_hash
from ganbench.harness import environment
from ganbench.harness.array_cache import Cache
from ganbench.harness.defaults import default_extractor
from ganbench.harness.floors import FLOOR_DRAWS, STAND_INS, stand_ins
from ganbench.harness.metric_values import MetricValues, alone, apply, fault, number
from ganbench.harness.real_data import RealData
from ganbench.metrics import features_of
from ganbench.metrics.bias import bias_warnings
from ganbench.metrics.intervals import LEVEL
from ganbench.plugin.interfaces import Dataset, Evidence, Extractor, Metric, MetricError, NotApplicable, Side
from ganbench.scoring.feature_cache import CachedExtractor, CachedStatistics
from ganbench.scoring.meter import Meter, MeteredExtractor
from ganbench.scoring.samples import Request, Samples, load
from ganbench.utils import seeding
from ganbench.utils.errors import UsageError
from ganbench.utils.files import cache_folder
from ganbench.utils.seeding import derive

METRICS = ("fid", "kid", "is", "precision", "recall", "density", "coverage")
IMAGE_EXTRACTOR = "inception-v3"  # the extractor of images that belong to no dataset


@dataclass(frozen=True)
class Score:
    """One line of the table.

    Attributes:
        floor: None where there is none.
        low, high: bootstrap interval of ``value`` over samples; None where a bootstrap is not sound.
        status: ``failed`` where the metric could not be computed, which a note explains; else empty.
    """

    name: str
    label: str
    direction: str
    value: float | None
    floor: float | None
    low: float | None
    high: float | None
    status: str = ""


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
        metrics = {
            one.name: {k: v for k, v in vars(one).items() if k != "name" and (v or k != "status")}
            for one in self.scores
        }
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
    equalise_channels(held, fake)
    dataset = held.dataset or dataset_of_samples(held)
    chosen, distribution = choose_extractor(held, fake, options)
    catalog = discover([("metric", name) for name in options.metrics or METRICS])
    offers = [catalog.get("metric", name) for name in options.metrics or METRICS]
    metrics: list[Metric] = [offer.thing for offer in offers]
    for metric in metrics:
        if options.metrics and (missing := metric.needs & {"variant", "history"}):
            raise UsageError(f"metric {metric.name} needs {' and '.join(sorted(missing))}, which samples do not have")
    inner: Extractor = MeteredExtractor(chosen, meter)
    cached = None
    if options.cache:
        cached = CachedExtractor(inner, Cache(cache_folder("features")), source_hash(type(chosen), distribution))
    keeps_pixels = any("samples" in metric.needs for metric in metrics)
    inputs = MetricInputs(held, dataset, cached or inner, len(fake), device, keeps_pixels)
    try:
        with meter.measuring(f"{chosen.name}, {real_text}"):
            first = inputs.side(held)
        with meter.measuring(f"{chosen.name}, {fake_text}"):
            second = inputs.side(fake)
        kept = CachedStatistics(cached.cache, features_of(first)) if cached is not None else None
        evidence = inputs.evidence(second, first, derive(options.request.seed or 0, "metrics"))
        values = compute_metrics(metrics, evidence)
        bounds, unbounded = intervals(metrics, values, evidence)
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
            floors.values.get(name),
            low,
            high,
            "failed" if value is None and name in values[metric.name].faults else "",
        )
        for metric in metrics
        for name, value in values[metric.name].values.items()
        for low, high in [bounds.get(name, (None, None))]
    ]
    faults = [
        f"{name} ({offer.distribution.removeprefix(FILE)}) {what}{where}"
        for offer in offers
        for found, where in (
            (values[offer.name].faults, ""),
            (unbounded, ", asked for an interval: it has none"),
            (floors.faults, " for real images: it has no floor"),
        )
        for name, what in found.items()
        if name == offer.name or name.startswith(f"{offer.name}.")
    ]
    about = {
        "real": {"source": real_text, "n": len(held), "sha256": held.hash},
        "fake": {"source": fake_text, "n": len(fake), "sha256": fake.hash},
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
    notes = [
        *faults,
        *held.said(),
        *fake.said(),
        *inputs.notes,
        *chosen.notes,
        *comparison_warnings(metrics, held, fake, first),
    ]
    return Scores(about, lines, list(dict.fromkeys(notes)))


def equalise_channels(one: Samples, other: Samples) -> None:
    """Make both sets the same kind of thing: grey images become RGB where the others are; raises UsageError."""
    if len(one.shape) != len(other.shape):
        raise UsageError(f"{one.title} and {other.title} are not of one kind: points are compared with points")
    if len(one.shape) == 4 and one.shape[1] != other.shape[1]:
        one.in_colour = other.in_colour = True


def dataset_of_samples(samples: Samples) -> Dataset:
    """What stands for the dataset of samples that belong to none: neither labels, modes nor a training split."""

    def load(split: str) -> tuple[Any, Any]:
        raise NotApplicable("these samples have no other split")

    return Dataset(name="samples", shape=samples.shape[1:], budget_images=0, load=load)


def choose_extractor(held: Samples, fake: Samples, options: Options) -> tuple[Extractor, str]:
    """By its name, by the dataset, by what a trained variant was scored with, or by the kind of samples.

    Returns it and the distribution that offers it.
    """
    own = default_extractor(held.dataset) if held.dataset is not None else None
    name = options.extractor or own or fake.extractor or (IMAGE_EXTRACTOR if len(held.shape) == 4 else "identity")
    if options.fast:
        name = f"{name}-fast"
    offer = discover([("extractor", name)]).get("extractor", name)
    chosen: Extractor = offer.thing
    return chosen.with_weights(options.weights) if options.weights else chosen, offer.distribution


def comparison_warnings(metrics: Sequence[Metric], held: Samples, fake: Samples, side: Side) -> list[str]:
    """What makes these numbers hard to compare."""
    n, d = min(len(held), len(fake)), side.features.shape[1]
    found = bias_warnings([metric.about for metric in metrics], n, d)
    if held.shape[2:] != fake.shape[2:]:
        first, second = ("x".join(map(str, samples.shape[2:])) for samples in (held, fake))
        found.append(f"{held.title} has images of {first}, {fake.title} of {second}: the network resizes both")
    if held.hash == fake.hash:
        found.append(f"{fake.title} holds the same samples as {held.title}")
    return found


class MetricInputs:
    """Turns samples into what metrics read, and a dataset's training images into floors."""

    def __init__(
        self,
        held: Samples,
        dataset: Dataset,
        extractor: Extractor,
        fakes: int,
        device: torch.device,
        keeps_pixels: bool,
    ) -> None:
        self.extractor, self.dataset, self.device, self.keeps_pixels = extractor, dataset, device, keeps_pixels
        # Only a held-out split has training images to be compared with.
        self.real = RealData(dataset, extractor, fakes, device) if held.split else None
        self.has_floor = held.split == "test"
        self.notes = self.real.notes if self.real else []
        if self.real is None and extractor.learns:
            raise UsageError(f"extractor {extractor.name} is trained on a dataset: name it with --real, or another one")

    def side(self, samples: Samples) -> Side:
        """The samples with their features, from one pass in which a chunk of them is in memory at a time.

        Pixels are kept if a metric declared that it reads them; else they are read again if one does.
        """
        features: list[np.ndarray] = []
        probabilities: list[np.ndarray] = []
        pixels: list[Tensor] = []
        start = 0
        for chunk in samples:
            with torch.no_grad():
                found = self.extractor(chunk.to(self.device))
            for kept, part in zip((features, probabilities), found, strict=True):
                if part is not None:
                    _append(kept, torch.as_tensor(part).float().cpu().numpy(), start, len(samples))
            pixels += [chunk] if self.keeps_pixels else []
            start += len(chunk)
        data = torch.cat(pixels).numpy() if self.keeps_pixels else None
        return ReadSide(samples, data, features[0], probabilities[0] if probabilities else None, str(self.device))

    def train(self) -> Side:
        if self.real is None or not self.has_floor:
            raise NotApplicable("there is no training split: name a dataset with --real")
        return self.real.train

    def evidence(self, fake: Side, held: Side, seed: int = 0) -> Evidence:
        return Evidence(fake, held, self.train, self.dataset, seed, extractor=self.extractor)

    def floors(self, metrics: Sequence[Metric], held: Side) -> MetricValues:
        """Each score of as many real training images: the mean over draws, as ``ganbench run`` has it."""
        real = self.real
        if real is None or not self.has_floor:
            return MetricValues()
        draws = 1 if self.extractor.dear else FLOOR_DRAWS
        found: dict[str, list[float]] = {}
        faults: dict[str, str] = {}
        for kind in STAND_INS:
            chosen = [metric for metric in metrics if metric.floor == kind]
            for side in stand_ins(real, kind, lambda: held, draws, all_features=True) if chosen else ():
                for one in compute_metrics(chosen, self.evidence(side, held)).values():
                    faults.update(one.faults)
                    for name, value in one.values.items():
                        if value is not None:
                            found.setdefault(name, []).append(value)
        means = {name: float(np.mean(values)) for name, values in found.items() if name not in faults}
        return MetricValues(dict(means), faults)


def _append(kept: list[np.ndarray], part: np.ndarray, start: int, total: int) -> None:
    """Write rows into the one array of ``kept``, which is made for ``total`` rows when the first come."""
    if not kept:
        kept.append(np.empty((total, *part.shape[1:]), part.dtype))
    kept[0][start : start + len(part)] = part


class ReadSide(Side):
    """A side whose samples are read when a metric asks for them, and kept from then on."""

    def __init__(
        self,
        source: Samples,
        samples: np.ndarray | None,
        features: np.ndarray,
        probabilities: np.ndarray | None,
        device: str = "cpu",
    ) -> None:
        about: dict[str, Any] = {
            "features": features,
            "probabilities": probabilities,
            "labels": source.labels,
            "device": device,
            "_known": {},
        }
        vars(self).update(about, source=source, _samples=samples)

    @property
    def samples(self) -> np.ndarray:
        if vars(self)["_samples"] is None:
            vars(self)["_samples"] = vars(self)["source"].data.numpy()
        found: np.ndarray = vars(self)["_samples"]
        return found

    def copy(self) -> Side:
        kept = (vars(self)["_samples"], self.probabilities)
        samples, probabilities = (None if part is None else part.copy() for part in kept)
        return ReadSide(vars(self)["source"], samples, self.features.copy(), probabilities, self.device)


def compute_metrics(metrics: Sequence[Metric], evidence: Evidence) -> dict[str, MetricValues]:
    """What each metric gave, by its name."""
    values = {}
    for metric in metrics:
        try:
            values[metric.name] = apply([metric], evidence, refuse=True)
        except MetricError as reason:
            raise UsageError(f"metric {metric.name}: {reason}") from None
    return values


def intervals(
    metrics: Sequence[Metric], values: dict[str, MetricValues], evidence: Evidence
) -> tuple[dict[str, tuple[float, float]], dict[str, str]]:
    """Bootstrap intervals over samples of the scores that have one; and what a metric did that failed to give one."""
    found, faults = {}, {}
    for metric in metrics:
        if (value := values[metric.name].values.get(metric.name)) is None:
            continue
        try:
            interval = alone(metric, evidence, partial(_interval, metric, value))
            if interval is not None:
                low, high = map(number, interval)
                found[metric.name] = (low, high)
        except (Exception, SystemExit) as reason:
            faults[metric.name] = fault(reason)
    return found, faults


def _interval(metric: Metric, value: float, evidence: Evidence) -> tuple[float, float] | None:
    """``metric.interval``, whose arguments a plugin may name as it likes."""
    return metric.interval(evidence, value)
