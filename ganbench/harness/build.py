"""Builds a trial from its spec: the variant, the real data, the metrics, and a training at its beginning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from ganbench.discovery.loader import Catalog, discover
from ganbench.discovery.source_hash import source_hash
from ganbench.harness.array_cache import real_cache
from ganbench.harness.evaluation import Evaluator
from ganbench.harness.real_data import RealData
from ganbench.harness.training import Training
from ganbench.plugin.hyperparameters import takes_classes
from ganbench.plugin.interfaces import Dataset, Metric
from ganbench.plugin.variant import Unsuitable, Variant
from ganbench.results.spec import TrialSpec
from ganbench.utils.seeding import Settings, derive, seed_everything


class Changed(RuntimeError):
    """A variant's code or a dataset's content has changed since the sweep was planned."""


def build(cls: type[Variant], dataset: Dataset, hyperparameters: dict[str, Any], seed: int) -> Variant:
    """A variant on the CPU, initialised from its own stream; raises Unsuitable where it does not apply."""
    seed_everything(derive(seed, "initialisation"))
    if not takes_classes(cls):
        return cls(torch.Size(dataset.shape), **hyperparameters)
    if not dataset.classes:
        raise Unsuitable(f"{cls.name} needs class labels, and {dataset.name} has none")
    return cls(torch.Size(dataset.shape), classes=dataset.classes, **hyperparameters)


@dataclass(frozen=True)
class TrialSetup:
    """What trials of one variant on one dataset have in common: its class, the real data, metrics, the environment."""

    cls: type[Variant]
    real: RealData
    metrics: list[Metric]
    settings: Settings
    environment: str

    def new_training(self, spec: TrialSpec) -> Training:
        """The training of a trial before its first step; global generators are seeded for it."""
        variant = build(self.cls, self.real.dataset, spec.hyperparameters, spec.seed).to(self.real.device)
        seed_everything(derive(spec.seed, "training"))
        return Training(
            variant,
            self.real,
            Evaluator(
                self.real,
                self.metrics,
                spec.seed,
                spec.protocol.batch_size,
                self.settings,
                spec.protocol.curve_samples,
            ),
            budget_images=spec.protocol.budget_images,
            batch_size=spec.protocol.batch_size,
            evaluations=spec.protocol.evaluations,
            seed=spec.seed,
            environment=self.environment,
            precision=spec.protocol.precision,
        )


def prepare(
    spec: TrialSpec, metrics: list[str], device: torch.device, environment_hash: str, settings: Settings
) -> TrialSetup:
    """Load the plugins and data that a trial needs; raises Changed where they are not those of the plan."""
    protocol = spec.protocol
    catalog: Catalog = discover(
        [
            ("variant", spec.variant),
            ("dataset", spec.dataset),
            ("extractor", protocol.extractor),
            *(("metric", name) for name in metrics),
        ]
    )
    cls = catalog.get("variant", spec.variant).thing
    if source_hash(cls, spec.distribution) != spec.source:
        raise Changed(f"the code of {spec.variant} is not what the sweep was planned with")
    extractor = catalog.get("extractor", protocol.extractor)
    real = RealData(
        catalog.get("dataset", spec.dataset).thing,
        extractor.thing,
        protocol.samples,
        device,
        real_cache(extractor.thing, extractor.distribution, device),
        protocol.split,
    )
    if real.hash != spec.dataset_hash:
        raise Changed(f"dataset {spec.dataset} returned other data than for the plan; its load() must be deterministic")
    return TrialSetup(cls, real, [catalog.get("metric", name).thing for name in metrics], settings, environment_hash)
