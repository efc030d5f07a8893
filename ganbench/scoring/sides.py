"""Two sets of samples as metrics see them, their values, floors and intervals, with nothing trained."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from ganbench.harness.metric_values import apply
from ganbench.harness.real_data import CHUNK, Real
from ganbench.plugin.interfaces import Dataset, Evidence, Extractor, Metric, MetricError, NotApplicable, Side
from ganbench.scoring.samples import Samples
from ganbench.utils.errors import UsageError

DRAWS = 10  # of training images, whose scores' mean is the floor; one where the network is slow


class Sides:
    """Turns samples into what metrics read, and a dataset's training images into floors."""

    def __init__(self, held: Samples, dataset: Dataset, extractor: Extractor, fakes: int, device: torch.device) -> None:
        self.extractor, self.dataset, self.device, self.fakes = extractor, dataset, device, fakes
        # Only a held-out split has training images to be compared with.
        self.real = Real(dataset, extractor, fakes, device) if held.split else None
        self.has_floor = held.split == "test"
        self.notes = self.real.notes if self.real else []
        if self.real is None and hasattr(extractor, "fit"):
            raise UsageError(f"extractor {extractor.name} is trained on a dataset: name it with --real, or another one")

    def of(self, samples: Samples) -> Side:
        with torch.no_grad():
            outputs = [self.extractor(chunk.to(self.device)) for chunk in samples.data.split(CHUNK)]
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
        draws = DRAWS if self.fakes < len(real.images["train"]) and not getattr(self.extractor, "dear", False) else 1
        found: dict[str, list[float]] = {}
        for kind, times in (("train", draws), ("test", 1)):
            chosen = [metric for metric in metrics if metric.floor == kind]
            for i in range(times if chosen else 0):
                rows = real.draw("train", self.fakes, "floor", i)
                side = held if kind == "test" else real.side("train", rows, whole=True)
                for values in measured(chosen, self.evidence(side, held)).values():
                    for name, value in values.items():
                        if value is not None:
                            found.setdefault(name, []).append(value)
        return {name: float(np.mean(values)) for name, values in found.items()}


def measured(metrics: Sequence[Metric], evidence: Evidence) -> dict[str, dict[str, float | None]]:
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
